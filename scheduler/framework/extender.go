package framework

import (
	"fmt"

	"coracle.dev/coracle/scheduler/snapshot"
)

// Extender is a rule outside of the process that is asked after the plugins. Each of its functions may be nil.
type Extender struct {
	Name string
	// Wants tells whether it has a say in a pod.
	Wants func(*snapshot.Pod) bool
	// Ignorable tells that a pod may be placed although it does not answer.
	Ignorable bool

	// Filter says why nodes do not do; those that it does not name do.
	Filter func(*snapshot.Pod, []*snapshot.Node) (map[string]*Status, error)
	// Score rates nodes by name, each from 0 to MaxScore times the extender's weight.
	Score func(*snapshot.Pod, []*snapshot.Node) (map[string]int64, error)
	// Preempt strikes nodes, or victims, from what a preemption chooses from.
	Preempt func(*snapshot.Pod, []*Preemption) ([]*Preemption, error)
}

// extend narrows nodes to those that all extenders let pass.
func extend(extenders []Extender, p *snapshot.Pod, nodes []*snapshot.Node, failure *Failure) ([]*snapshot.Node, error) {
	for i := range extenders {
		e := &extenders[i]
		if len(nodes) == 0 {
			return nil, nil
		}
		if e.Filter == nil || !e.Wants(p) {
			continue
		}
		refused, err := e.Filter(p, nodes)
		if err != nil {
			if e.Ignorable {
				continue
			}
			return nil, fmt.Errorf("asking extender %s: %w", e.Name, err)
		}
		var rest []*snapshot.Node
		for _, n := range nodes {
			if status := refused[n.Name]; status != nil {
				failure.ByNode[n.Name] = status
				failure.Rejected |= Outside
				continue
			}
			rest = append(rest, n)
		}
		nodes = rest
	}
	return nodes, nil
}

// addExtended adds the extenders' scores. One that does not answer has no say.
func addExtended(totals []int64, extenders []Extender, p *snapshot.Pod, nodes []*snapshot.Node) {
	for i := range extenders {
		e := &extenders[i]
		if e.Score == nil || !e.Wants(p) {
			continue
		}
		scores, err := e.Score(p, nodes)
		if err != nil {
			continue
		}
		for j, n := range nodes {
			totals[j] += scores[n.Name]
		}
	}
}

// preemptExtended lets the extenders strike what a preemption chooses from.
func preemptExtended(extenders []Extender, p *snapshot.Pod, found []*Preemption) ([]*Preemption, error) {
	for i := range extenders {
		e := &extenders[i]
		if e.Preempt == nil || !e.Wants(p) || len(found) == 0 {
			continue
		}
		left, err := e.Preempt(p, found)
		if err != nil {
			if e.Ignorable {
				continue
			}
			return nil, fmt.Errorf("asking extender %s: %w", e.Name, err)
		}
		found = left
	}
	return found, nil
}
