package plugin

import (
	"math"
	"slices"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

const (
	reasonAffinity     = "node(s) didn't match pod affinity rules"
	reasonAntiAffinity = "node(s) didn't match pod anti-affinity rules"
	reasonExistingAnti = "node(s) didn't satisfy existing pods anti-affinity rules"
)

// Affinity are the choices of InterPodAffinity.
type Affinity struct {
	// HardWeight is what a required affinity of a pod that runs weighs for one that comes. Kubernetes' default is 1.
	HardWeight int64
	// IgnoreWishes leaves out what pods that run prefer, for pods that prefer nothing themselves.
	IgnoreWishes bool
}

// InterPodAffinity puts pods near or away from others, as they and the others ask.
func InterPodAffinity(o Affinity) framework.Plugin {
	return framework.Plugin{
		Name: "InterPodAffinity", Weight: 2, Filter: filterAffinity,
		Score: func(c *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node) []int64 {
			return scoreAffinity(c, p, nodes, o)
		},
		Wakes: framework.NodeAdded | framework.NodeLabels | framework.PodAdded | framework.PodLabels |
			framework.PodRemoved | framework.NamespaceChanged,
		Hint: hintAffinity,
	}
}

// hintAffinity tells whether a pod that came or went can matter to one that waits.
func hintAffinity(c *snapshot.Cluster, p *snapshot.Pod, change framework.Change) bool {
	if change.Pod == nil {
		return true
	}
	for _, other := range []*snapshot.Pod{change.Pod, change.Was} {
		if other == nil {
			continue
		}
		labels, mine := c.NamespaceLabels(other.Namespace), c.NamespaceLabels(p.Namespace)
		came := change.Event&(framework.PodAdded|framework.PodLabels) != 0
		if came && slices.ContainsFunc(p.RequiredAffinity, func(t snapshot.Term) bool { return t.Matches(other, labels) }) {
			return true
		}
		if change.Event&(framework.PodRemoved|framework.PodLabels) == 0 {
			continue
		}
		if slices.ContainsFunc(p.RequiredAntiAffinity, func(t snapshot.Term) bool { return t.Matches(other, labels) }) ||
			slices.ContainsFunc(other.RequiredAntiAffinity, func(t snapshot.Term) bool { return t.Matches(p, mine) }) {
			return true
		}
	}
	return false
}

// byDomain is a number for each value of each topology key.
type byDomain map[string]map[string]int64

func (b byDomain) add(key, value string, n int64) {
	if b[key] == nil {
		b[key] = map[string]int64{}
	}
	b[key][value] += n
}

// of sums over the domains that a node is in.
func (b byDomain) of(n *snapshot.Node) (sum int64) {
	for key, values := range b {
		if value, has := n.Labels[key]; has {
			sum += values[value]
		}
	}
	return sum
}

// domains turns a count per node into one per value of a topology key.
func domains(counter *snapshot.Counter, key string) map[string]int {
	out := map[string]int{}
	for n, pods := range counter.ByNode {
		if n.Node == nil {
			continue
		}
		if value, has := n.Labels[key]; has {
			out[value] += pods
		}
	}
	return out
}

func filterAffinity(c *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
	existing := refusedBy(c, p)
	near := nearness(c, p)
	away := make([]map[string]int, len(p.RequiredAntiAffinity))
	for i := range p.RequiredAntiAffinity {
		away[i] = domains(c.CountTerms(p.RequiredAntiAffinity[i]), p.RequiredAntiAffinity[i].TopologyKey)
	}
	if len(existing) == 0 && near == nil && len(away) == 0 {
		return nil, nil
	}
	return func(n *snapshot.Node) *framework.Status {
		if near != nil && !near(n) {
			return framework.Never(reasonAffinity)
		}
		for i := range away {
			if value, has := n.Labels[p.RequiredAntiAffinity[i].TopologyKey]; has && away[i][value] > 0 {
				return framework.Unfit(reasonAntiAffinity)
			}
		}
		if existing.of(n) > 0 {
			return framework.Unfit(reasonExistingAnti)
		}
		return nil
	}, nil
}

// refusedBy are the domains that pods which run keep a new pod out of, with their number.
func refusedBy(c *snapshot.Cluster, p *snapshot.Pod) byDomain {
	out := byDomain{}
	namespace := c.NamespaceLabels(p.Namespace)
	for _, w := range c.Wishes() {
		if w.Kind == snapshot.RequiredAway && w.Term.Matches(p, namespace) {
			out.addWish(w, 1)
		}
	}
	return out
}

// addWish adds, for each pod that has a wish, an amount to the domain that the pod is in.
func (b byDomain) addWish(w *snapshot.Wish, amount int64) {
	for n, pods := range w.ByNode {
		if n.Node == nil {
			continue
		}
		if value, has := n.Labels[w.Term.TopologyKey]; has {
			b.add(w.Term.TopologyKey, value, amount*int64(pods))
		}
	}
}

// nearness judges the required affinity. Only pods that all terms select count. The first of a group of pods that want
// to be near each other has nobody to be near, and may go anywhere that has the keys.
func nearness(c *snapshot.Cluster, p *snapshot.Pod) func(*snapshot.Node) bool {
	terms := p.RequiredAffinity
	if len(terms) == 0 {
		return nil
	}
	counter := c.CountTerms(terms...)
	near := make([]map[string]int, len(terms))
	alone := true
	for i := range terms {
		near[i] = domains(counter, terms[i].TopologyKey)
		alone = alone && len(near[i]) == 0
	}
	first := alone
	for i := range terms {
		first = first && terms[i].Matches(p, c.NamespaceLabels(p.Namespace))
	}
	return func(n *snapshot.Node) bool {
		for i := range terms {
			value, has := n.Labels[terms[i].TopologyKey]
			if !has || !first && near[i][value] == 0 {
				return false
			}
		}
		return true
	}
}

func scoreAffinity(c *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node, o Affinity) []int64 {
	if o.IgnoreWishes && len(p.PreferredAffinity)+len(p.PreferredAntiAffinity) == 0 {
		return nil
	}
	weights := byDomain{}
	for sign, terms := range map[int64][]snapshot.Term{1: p.PreferredAffinity, -1: p.PreferredAntiAffinity} {
		for i := range terms {
			for value, pods := range domains(c.CountTerms(terms[i]), terms[i].TopologyKey) {
				weights.add(terms[i].TopologyKey, value, sign*terms[i].Weight*int64(pods))
			}
		}
	}
	addWishes(weights, c, p, o.HardWeight)
	if len(weights) == 0 {
		return nil
	}
	sums := make([]int64, len(nodes))
	lowest, highest := int64(math.MaxInt64), int64(math.MinInt64)
	for i, n := range nodes {
		sums[i] = weights.of(n)
		lowest, highest = min(lowest, sums[i]), max(highest, sums[i])
	}
	for i := range sums {
		if highest == lowest {
			sums[i] = 0
			continue
		}
		sums[i] = int64(float64(framework.MaxScore) * float64(sums[i]-lowest) / float64(highest-lowest))
	}
	return sums
}

// addWishes adds what pods that run wish of a new one.
func addWishes(weights byDomain, c *snapshot.Cluster, p *snapshot.Pod, hardWeight int64) {
	namespace := c.NamespaceLabels(p.Namespace)
	for _, w := range c.Wishes() {
		if w.Kind == snapshot.RequiredAway || !w.Term.Matches(p, namespace) {
			continue
		}
		switch w.Kind {
		case snapshot.RequiredNear:
			weights.addWish(w, hardWeight)
		case snapshot.PreferredNear:
			weights.addWish(w, w.Term.Weight)
		case snapshot.PreferredAway:
			weights.addWish(w, -w.Term.Weight)
		}
	}
}
