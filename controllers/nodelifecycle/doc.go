// Package nodelifecycle tells the cluster when a node can no longer be relied
// on.
//
// It watches nodes, their leases in the namespace kube-node-lease, and pods. A
// node whose agent has neither renewed its lease nor written its status for the
// grace period gets its conditions set to Unknown. Conditions become taints: of
// effect NoSchedule for each that is bad, and of effect NoExecute for a node
// that is not ready or unreachable. Pods on a node that is not ready are marked
// not ready.
//
// It owns the taints node.kubernetes.io/{not-ready, unreachable,
// memory-pressure, disk-pressure, pid-pressure, network-unavailable,
// unschedulable} and leaves all others alone. It deletes no pods: that is done
// by package tainteviction.
//
// Invariants: silence is measured by this process's own clock from when it last
// saw something new, so that neither a wrong clock of a node nor a pause of the
// controllers looks like silence. NoExecute taints are given to at most one
// node of a zone in ten seconds, and to none while no node anywhere is ready:
// then it is more likely that the controllers are cut off than that all nodes
// are dead.
//
// The state of all zones is counted as nodes come, change and go, so that the cost of a node that is not ready does not
// grow with the number of nodes.
//
// Different from Kubernetes: nodes are looked at when they change and when
// their grace period ends, rather than all of them every five seconds; a zone
// with more than 55 percent of its nodes gone, and more than 50 nodes, gets its
// taints ten times slower, a smaller one none, as there.
package nodelifecycle
