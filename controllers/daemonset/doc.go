// Package daemonset runs one pod of each DaemonSet on each node that it fits.
//
// It watches DaemonSets, pods, nodes and ControllerRevisions. It owns the pods
// and the revisions whose controller is a DaemonSet, and writes the status of
// DaemonSets. A pod is bound by the scheduler: it is made with an affinity to
// its node's name, and with tolerations of the taints that nodes get on their
// own.
//
// Invariants: a node has at most one active pod of a DaemonSet, save while
// maxSurge lets a new pod become available before the old one goes. A rolling
// update deletes no working pod while maxUnavailable pods are not available.
//
// Differences from Kubernetes 1.37: the deprecated template generation is
// neither kept nor looked at; what is up to date is told by the hash label. A
// daemon that stays on a node which would not take a new one is not updated, as
// it would not come back.
package daemonset
