// Package statefulset runs the pods of StatefulSets, each of which has a name
// and storage of its own that outlive it.
//
// It watches StatefulSets, pods, ControllerRevisions and persistent volume
// claims. It owns the pods and revisions whose controller is a StatefulSet, makes
// the claims of spec.volumeClaimTemplates, keeps their owner references as the
// retention policy says, and writes the status of StatefulSets.
//
// Invariants: there is at most one pod of each ordinal, since the ordinal is in
// its name. With the policy OrderedReady a pod is made only when all of lower
// ordinals are available, and removed only when none of a higher one is left. A
// rolling update makes no available pod unavailable while maxUnavailable are,
// and touches none below the partition. A pod is not made while one of its
// claims is on its way out.
//
// Differences from Kubernetes 1.37: a pod is deleted by its UID, so that a stale
// cache cannot take away its successor. In a rolling update with the policy
// Parallel, an outdated pod that is not available is replaced at once, whatever
// its place in the order: nothing is lost with it.
package statefulset
