// Package scheduler binds pods to nodes, as kube-scheduler does.
//
// It watches pods, nodes, namespaces, claims, volumes and storage classes, disruption budgets, and the objects by which
// pods are spread (services, replication controllers, replica sets, stateful sets). It writes the binding of a pod, the
// condition PodScheduled and nominatedNodeName in the status of pods that it cannot place, and events. It deletes pods
// only to make room for more important ones.
//
// One goroutine decides, under a lock that the handlers of watch events share: a decision sees all events before it and
// none during it. A pod that was placed counts as bound at once (it is assumed) while its binding is written
// concurrently; if that fails, the assumption is taken back and the pod waits out a backoff. So throughput is bounded by
// the API server rather than by round trips, and no two decisions give away the same room.
//
// The folders: snapshot is what decisions look at, framework decides, plugin holds the rules, queue orders the pods that
// wait. All four are pure; this package alone has a client and a clock.
//
// Different from kube-scheduler 1.37: one profile; no extenders, dynamic resources, volume binding or limits; events that
// happen while a pod is being decided on cannot be missed, so nothing like its in-flight event list is needed.
package scheduler
