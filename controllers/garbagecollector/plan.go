package garbagecollector

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// standing is what is known of an owner.
type standing int

const (
	unknown standing = iota // must be asked for
	there                   // exists, and keeps the dependent alive
	gone                    // does not exist
	waiting                 // is being deleted, after this dependent
)

// action is what to do with an object.
type action struct {
	// release lists owners whose references are to be removed.
	release []types.UID
	// unblock lets owners go before the object: it is part of a circle.
	unblock bool
	// deletion is how to delete the object, or empty.
	deletion metav1.DeletionPropagation
	// finalize lets go of an object whose dependents are gone.
	finalize bool
	// first are dependents to be looked at before the object.
	first []types.UID
}

// plan decides about an object that has been observed. ask tells the standing
// of an owner.
func plan(n *node, ask func(metav1.OwnerReference) standing) action {
	switch {
	case n.awaitsDependents():
		return planForeground(n)
	case n.deleting:
		return action{}
	}
	var fallen, awaited []types.UID
	kept := false
	for _, ref := range n.owners {
		switch ask(ref) {
		case gone:
			fallen = append(fallen, ref.UID)
		case waiting:
			awaited = append(awaited, ref.UID)
		default:
			kept = true
		}
	}
	switch {
	case kept || len(n.owners) == 0:
		return action{release: slices.Concat(fallen, awaited)}
	case len(awaited) > 0 && len(n.dependents) > 0:
		// The owner waits for this object, so this one waits for its own.
		return action{deletion: metav1.DeletePropagationForeground, unblock: circular(n)}
	case n.orphan:
		return action{deletion: metav1.DeletePropagationOrphan}
	case n.foreground:
		return action{deletion: metav1.DeletePropagationForeground}
	default:
		return action{deletion: metav1.DeletePropagationBackground}
	}
}

// planForeground lets an object go once no dependent blocks it, and until then
// has the dependents looked at.
func planForeground(n *node) action {
	blocking := n.blocking()
	if len(blocking) == 0 {
		return action{finalize: true}
	}
	var first []types.UID
	for _, d := range blocking {
		if !d.awaitsDependents() {
			first = append(first, d.uid)
		}
	}
	return action{first: first}
}

// circular tells whether a dependent of the object is itself waiting for its
// own dependents: then the object must not block its owners, or nobody goes.
func circular(n *node) bool {
	for _, d := range n.dependents {
		if d.awaitsDependents() {
			return true
		}
	}
	return false
}
