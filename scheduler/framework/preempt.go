package framework

import (
	"cmp"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/scheduler/snapshot"
)

// Preemption is a node and the pods that must leave it to make room for a more important one.
type Preemption struct {
	Node       string
	Victims    []*snapshot.Pod // the most important first
	Violations int             // victims whose budget forbids it
}

// Candidates bounds how many preemptions are compared: a percentage of the nodes, and at least a number. 0 is 10 and 100;
// less than 0 is none.
type Candidates struct{ Percent, Least int }

func (c Candidates) of(nodes int) int {
	return max(nodes*cmp.Or(c.Percent, 10)/100, cmp.Or(c.Least, minSearched), 1)
}

// What preemption says of nodes that it cannot help with, as kube-scheduler says it.
const (
	reasonNotHelpful = "Preemption is not helpful for scheduling"
	reasonNoVictims  = "No preemption victims found for incoming pod"
)

// Preempt finds the least harmful way to make room for a pod that fits nowhere. It returns nil and the reason, or a
// preemption. The cluster is changed while Preempt works it out, and is as before when it returns.
func Preempt(plugins []Plugin, c *snapshot.Cluster, p *snapshot.Pod, f *Failure, start int, bounds Candidates, extenders ...Extender) (_ *Preemption, why string) {
	preface := "preemption: "
	for i := range plugins {
		if dry := plugins[i].Dry; dry != nil {
			preface = dry(p) + ", " + preface
		}
	}
	if why := ineligible(c, p); why != "" {
		return nil, preface + why
	}
	outcome := &Failure{Nodes: f.Nodes, ByNode: map[string]*Status{}, Absent: Never(reasonNotHelpful)}
	nodes := candidates(c, f)
	var found []*Preemption
	most := bounds.of(len(nodes))
	for i := range nodes {
		n := nodes[(start+i)%len(nodes)]
		preemption, status := victims(plugins, c, p, n)
		if status != nil {
			outcome.ByNode[n.Name] = status
			continue
		}
		if found = append(found, preemption); len(found) == most {
			break
		}
	}
	if len(found) == 0 {
		return nil, preface + outcome.Message()
	}
	found, err := preemptExtended(extenders, p, found)
	if err != nil {
		return nil, preface + err.Error()
	}
	if len(found) == 0 {
		return nil, preface + "no extender lets pods be preempted"
	}
	return slices.MinFunc(found, lessHarmful), ""
}

func ineligible(c *snapshot.Cluster, p *snapshot.Pod) string {
	if p.Spec.PreemptionPolicy != nil && *p.Spec.PreemptionPolicy == corev1.PreemptNever {
		return "not eligible due to preemptionPolicy=Never."
	}
	if Waits(c, p) {
		return "not eligible due to a terminating pod on the nominated node."
	}
	return ""
}

// Waits tells whether pods are on their way out of the node on which room is kept for this one.
func Waits(c *snapshot.Cluster, p *snapshot.Pod) bool {
	if n := c.Node(c.NominatedNode(p.UID)); n != nil {
		for _, other := range n.Pods {
			if other.DeletionTimestamp != nil && other.Priority < p.Priority {
				return true
			}
		}
	}
	return false
}

// candidates are the nodes that might do if pods left them.
func candidates(c *snapshot.Cluster, f *Failure) []*snapshot.Node {
	if f.All != nil {
		return nil
	}
	var out []*snapshot.Node
	for _, n := range c.Nodes() {
		if status := f.ByNode[n.Name]; status != nil && !status.Final {
			out = append(out, n)
		}
	}
	return out
}

// victims finds the pods that must leave a node. All that are less important leave, and then come back one by one, the
// most important first and those that a budget protects before the others, as long as the pod still fits.
func victims(plugins []Plugin, c *snapshot.Cluster, p *snapshot.Pod, n *snapshot.Node) (*Preemption, *Status) {
	var lower []*snapshot.Pod
	for _, other := range n.Pods {
		if other.Priority < p.Priority {
			lower = append(lower, other)
		}
	}
	if len(lower) == 0 {
		return nil, Never(reasonNoVictims)
	}
	slices.SortFunc(lower, moreImportant)
	putBack := make([]func(), len(lower))
	for i, victim := range lower {
		putBack[i] = c.Lift(victim)
	}
	defer func() {
		for _, back := range putBack {
			back()
		}
	}()
	if status := fits(plugins, c, p, n); status != nil {
		return nil, status
	}
	out := &Preemption{Node: n.Name}
	violating := c.Violating(lower)
	for _, protected := range []bool{true, false} {
		for i, victim := range lower {
			if violating[i] != protected {
				continue
			}
			putBack[i]()
			putBack[i] = func() {}
			if fits(plugins, c, p, n) == nil {
				continue
			}
			putBack[i] = c.Lift(victim)
			out.Victims = append(out.Victims, victim)
			if protected {
				out.Violations++
			}
		}
	}
	slices.SortFunc(out.Victims, moreImportant)
	return out, nil
}

func fits(plugins []Plugin, c *snapshot.Cluster, p *snapshot.Pod, n *snapshot.Node) *Status {
	f := &Failure{}
	filters := prepare(plugins, c, p, f)
	if f.All != nil {
		return f.All
	}
	_, status := judge(filters, c, p, n)
	return status
}

// moreImportant sorts pods that others should rather spare to the front: of higher priority, or running for longer.
func moreImportant(a, b *snapshot.Pod) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), started(a).Compare(started(b).Time), cmp.Compare(a.UID, b.UID))
}

func started(p *snapshot.Pod) metav1.Time {
	if p.Status.StartTime != nil {
		return *p.Status.StartTime
	}
	return p.CreationTimestamp
}

// lessHarmful prefers fewer violated budgets, then a lower highest priority of a victim, a lower sum of priorities,
// fewer victims, and last the victims that have run for the shortest time.
func lessHarmful(a, b *Preemption) int {
	return cmp.Or(
		cmp.Compare(a.Violations, b.Violations),
		cmp.Compare(a.highest(), b.highest()),
		cmp.Compare(a.sum(), b.sum()),
		cmp.Compare(len(a.Victims), len(b.Victims)),
		b.earliest().Compare(a.earliest().Time),
	)
}

func (p *Preemption) highest() int32 {
	if len(p.Victims) == 0 {
		return math.MinInt32
	}
	return p.Victims[0].Priority
}

// sum shifts priorities so that a victim of negative priority counts as harm too.
func (p *Preemption) sum() (sum int64) {
	for _, v := range p.Victims {
		sum += int64(v.Priority) + math.MaxInt32 + 1
	}
	return sum
}

// earliest is when the first of the most important victims started.
func (p *Preemption) earliest() metav1.Time {
	var first metav1.Time
	for _, v := range p.Victims {
		if v.Priority == p.highest() && (first.IsZero() || started(v).Time.Before(first.Time)) {
			first = started(v)
		}
	}
	return first
}
