package framework

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/scheduler/snapshot"
)

// Reservation is what a pod takes besides its place on a node, and what must come true before the pod is bound.
type Reservation struct {
	// Plugin is the rule that it is of.
	Plugin string
	// Writes are to be made in this order.
	Writes []Write
	// Settled tells whether the pod can be bound, or that it never can. It looks at the cluster of the decision.
	Settled func() (bool, error)
	// Release takes back what was noted in the cluster.
	Release func()
	// Undo takes back what was written, by merging into the newest states of these objects. A Merge that returns nil has
	// nothing to take back.
	Undo []Write
}

// Write is a newer state of an object.
type Write struct {
	Object metav1.Object
	// Status tells to write the status alone.
	Status bool
	// Merge makes the object anew of a newer state of it, after a conflict. Nil is that a conflict is an error.
	Merge func(newer metav1.Object) (metav1.Object, error)
}

// Reserve asks each rule what a pod takes on its node. Either all is noted in the cluster, or nothing is.
func Reserve(plugins []Plugin, c *snapshot.Cluster, p *snapshot.Pod, node string) ([]*Reservation, *Status) {
	n := c.Node(node)
	if n == nil {
		return nil, Unfit("node is gone")
	}
	var out []*Reservation
	for i := range plugins {
		if plugins[i].Reserve == nil {
			continue
		}
		r, status := plugins[i].Reserve(c, p, n)
		if status != nil {
			Release(out)
			return nil, status
		}
		if r != nil {
			r.Plugin = plugins[i].Name
			out = append(out, r)
		}
	}
	return out, nil
}

// Release takes back reservations, the last first.
func Release(reservations []*Reservation) {
	for i := len(reservations) - 1; i >= 0; i-- {
		reservations[i].Release()
	}
}

// Settled tells whether all reservations are.
func Settled(reservations []*Reservation) (bool, *Reservation, error) {
	for _, r := range reservations {
		if done, err := r.Settled(); err != nil || !done {
			return false, r, err
		}
	}
	return true, nil, nil
}
