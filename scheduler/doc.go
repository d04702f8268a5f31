// Package scheduler binds pods to nodes, as kube-scheduler does.
//
// It watches pods, nodes, namespaces, claims, volumes and storage classes, what CSI drivers say of nodes, claims, slices
// and classes of devices, disruption budgets, and the objects by which pods are spread (services, replication
// controllers, replica sets, stateful sets). It writes the binding of a pod, the condition PodScheduled and
// nominatedNodeName in the status of pods that it cannot place, the volumes, claims and device claims that a placed pod
// takes, and events. It deletes pods only to make room for more important ones.
//
// One goroutine decides, under a lock that the handlers of watch events share: a decision sees all events before it and
// none during it. A pod that was placed counts as bound at once (it is assumed) while its binding is written
// concurrently; if that fails, the assumption is taken back and the pod waits out a backoff. So throughput is bounded by
// the API server rather than by round trips, and no two decisions give away the same room.
//
// What a pod takes besides room (volumes that are to be bound or made for it, devices) is noted in the snapshot with the
// decision, written, and awaited without holding up others; then the pod is bound.
//
// The folders: snapshot is what decisions look at, framework decides, plugin and device hold the rules, queue orders the
// pods that wait, config reads KubeSchedulerConfiguration files, extender asks other programs. The first five are pure;
// of the others only this package has a clock and a client of the API.
//
// Different from kube-scheduler 1.37: events that happen while a pod is being decided on cannot be missed, so nothing like
// its in-flight event list is needed; features that are alpha there, such as scheduling groups of pods as one, are
// absent.
package scheduler
