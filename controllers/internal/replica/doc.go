// Package replica keeps a number of like pods running. It is what ReplicaSet and
// ReplicationController have in common, which is all but their types.
//
// It watches the owners and their pods. It creates and deletes pods, adopts
// pods without a controller that match the selector, releases pods that no
// longer match, and writes the owner's status.
//
// Invariants: no decision is made while the cache has not shown the outcome of
// the one before, so an owner never has more active pods than asked for by its
// own doing; the status never claims a generation that was not acted upon.
//
// Differences from Kubernetes: pods that an owner is to adopt are found by an
// index of orphans, not by going through the namespace; passes over owners of
// many pods are spaced (package pace), so their status may lag by up to 250 ms.
package replica
