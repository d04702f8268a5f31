// Package namespace empties namespaces that are being deleted, and lets them
// go when they are empty.
//
// It watches namespaces, and the deletion of pods. For a namespace that is
// terminating it asks discovery which kinds of objects there are, deletes all
// of them that are in the namespace, pods first, writes what remains into the
// namespace's conditions, and takes the finalizer "kubernetes" out of its spec
// when nothing does.
//
// Invariants: the finalizer is removed only after every kind that discovery
// knows of was listed and found empty, and no part of discovery failed; no
// object outside the namespace is touched.
//
// Different from Kubernetes: what remains is looked at again after a tenth of
// the time that has passed since the deletion, rather than after half the
// longest grace period of a pod; a pod that goes away makes it look at once.
package namespace
