// Package job runs the pods of Jobs to completion.
//
// It watches Jobs and pods. It owns the pods whose controller is a Job, among
// them the finalizer batch.kubernetes.io/job-tracking, and writes the status of
// Jobs. A Job whose spec.managedBy names another controller is left alone.
//
// Invariants: each pod is counted once, however often the controller dies. A
// pod that ended keeps its finalizer, and so exists, until its UID is in the
// status as uncounted (or its index as completed); its UID leaves the status,
// and the counter rises, only when the pod is seen without the finalizer. No
// decision is made on a status older than the one written last, nor while the
// cache has not shown the pods created and deleted last. A Job is Complete or
// Failed only when all its pods are terminal and counted.
//
// Differences from Kubernetes 1.37: how long to wait after failures is computed
// from the pods there are, not from a record in memory, so that a restart of the
// controller does not reset it, but deleting failed pods does.
package job
