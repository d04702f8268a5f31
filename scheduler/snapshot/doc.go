// Package snapshot holds what the scheduler knows of a cluster: nodes with the sum of what their pods ask of them, and
// the few other objects that a decision looks at.
//
// A Cluster changes incrementally: the cost of an event does not grow with the number of pods or nodes, save that a new
// node is put in order by name. Nothing here reads a client or a clock, so a decision over a Cluster is a function of
// the objects it was told of. It is not safe for concurrent use; whoever owns it brings the lock.
//
// Invariants: the Requested of a node is the sum over its pods, assumed ones included; a pod is on one node at most; a
// Counter that has been handed out equals a fresh count over all pods.
package snapshot
