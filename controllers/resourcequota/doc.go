// Package resourcequota counts what the objects of a namespace use of its
// quotas.
//
// It watches ResourceQuotas, and the objects of each resource that some quota
// names: pods, services, claims of volumes and of devices as they are, all
// others by their metadata alone. It owns the status of quotas: hard is what is
// specified, used what is there.
//
// Admission adds to used what it lets in, before the object exists. What is
// counted at that moment lacks it, so objects are counted again when they are
// seen; and when they end or use something else, when what the quota asks for
// changes, and every five minutes.
//
// Invariants: what objects count for is apis/quota's to say, for admission and
// here alike; a status is written in the version that was read, so that nothing
// that admission added meanwhile is lost; a count that failed leaves the figures
// of its resource as they are.
//
// Different from Kubernetes: a resource is watched from when the first quota
// names it, rather than all resources always.
package resourcequota
