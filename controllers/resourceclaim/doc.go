// Package resourceclaim makes the ResourceClaims that pods have templates for,
// and frees claims that no pod uses any more.
//
// It watches pods, ResourceClaims and ResourceClaimTemplates. For each claim of a
// pod that names a template it creates a ResourceClaim that the pod controls, and
// writes its name into the pod's status.resourceClaimStatuses. Of all claims, it
// removes from status.reservedFor the pods that have finished or are gone; one
// that nobody has reserved loses its allocation and the finalizer
// resource.kubernetes.io/delete-protection; one that was made for a pod is
// deleted when the pod has finished. A pod that was bound without a scheduler
// gets its allocated claims reserved.
//
// Invariants: a pod has one claim for each of its templates: the API server
// itself is asked before another is made. A pod counts as gone only if the API
// server says so.
//
// Different from Kubernetes: claims of pod groups are left alone.
package resourceclaim
