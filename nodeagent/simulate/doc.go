// Package simulate is nodes without machines: any number of Node objects, whose pods run, become ready,
// fail, restart and finish on a timeline, with no container behind them.
//
// It stands where node agents stand, and is a client of the Kubernetes API like them: it registers the
// nodes, keeps their leases, and writes the status of the pods that are bound to them. One watch serves
// all nodes, and one queue holds what is due when, so that thousands fit in a process.
//
// What a pod does is said by defaults and by annotations of the pod, see Profile. What it is to be shown
// as, and when that changes next, is a pure function of its spec, its profile and the time (plan.go,
// status.go). Its container statuses, conditions, phase and back-off are those that the kubelet would
// write.
//
// Invariants: only pods of the simulated nodes are touched; a status is written on top of the version
// that it was computed from, or not at all; a deleted pod leaves after the time its profile says and no
// later than its grace period; a node that is annotated as down renews no lease and writes nothing, as
// if its machine had lost power.
//
// Different from real node agents: probes, hooks and volumes are not looked at; no events are written; a
// pod that is deleted gets a last status only where a finalizer waits for one; images always pull, save
// where an annotation says that they do not. The status of a node is written when it changes, not every
// five minutes.
package simulate
