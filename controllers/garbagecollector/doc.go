// Package garbagecollector deletes objects whose owners are gone.
//
// It watches the metadata of all objects that can be listed, watched and
// deleted, of built-in and custom kinds, save events, and keeps a graph of who
// owns whom. An object all of whose owners are gone is deleted, one that has an
// owner left loses the references to those that are gone. An owner that is
// deleted with the finalizer foregroundDeletion goes after those of its
// dependents that block it; with the finalizer orphan, its dependents lose their
// reference to it and stay.
//
// Invariants: an owner counts as gone only if its deletion was seen in a watch,
// or the API server said that nothing with its uid is where the reference says;
// a write to an object is refused if the object differs from what was decided
// on (uid and resource version are preconditions); no dependent is orphaned or
// deleted before all kinds that were discovered have been listed once.
//
// The kinds are discovered anew when a CustomResourceDefinition or an APIService
// changes, when an owner is of an unknown kind, and every two minutes.
//
// Different from Kubernetes: the graph is the only copy of the metadata in
// memory; owners and dependents that the graph knows from a watch are believed,
// so that a dependent costs one request rather than three.
package garbagecollector
