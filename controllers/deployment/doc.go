// Package deployment rolls out ReplicaSets for Deployments.
//
// It watches Deployments, ReplicaSets, and, for the strategy Recreate, the
// deletion of pods. It owns the ReplicaSets whose controller is a Deployment:
// it creates one for each pod template, scales and annotates them, and deletes
// the oldest beyond the revision history limit. It writes the annotation
// deployment.kubernetes.io/revision and the status of Deployments.
//
// Invariants: in a rolling update there are never more than replicas+maxSurge
// active pods, and none is taken that is needed for replicas-maxUnavailable to be
// available; with Recreate no new pod is asked for while
// an old one may still run. A template has one ReplicaSet, named after its hash.
//
// The whole of a pass is decided by plan, a pure function, and then written.
// All writes carry the resource version that the decision was based on.
//
// Differences from Kubernetes 1.37: while a replica set that was scaled down
// still has more pods than it is to have, these count towards the maximum but
// not as available, so that the bounds hold for pods, and not only for what the
// sets are asked for. The annotation
// deprecated.deployment.rollback.to of extensions/v1beta1 is not acted upon
// (kubectl rollout undo writes the template and needs no such thing). The
// revision is written by a patch of the Deployment rather than along with its
// status, which API servers may refuse to take metadata from.
package deployment
