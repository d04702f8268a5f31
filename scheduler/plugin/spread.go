package plugin

import (
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// PodTopologySpread keeps the numbers of matching pods per zone, node or other domain within the pod's constraints,
// and prefers domains with fewer. Pods without constraints are spread softly among the pods of their services and
// their controller, over nodes and zones.
//
// defaults are the constraints of pods that have none of their own, without selectors; nil is Kubernetes' default.
func PodTopologySpread(defaults []corev1.TopologySpreadConstraint) framework.Plugin {
	return framework.Plugin{
		Name: "PodTopologySpread", Weight: 2,
		Filter: func(c *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
			return filterSpread(c, p, hardSpread(c, p, defaults)), nil
		},
		Score: func(c *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node) []int64 {
			cs, all := softSpread(c, p, defaults)
			return scoreSpread(c, p, nodes, cs, all)
		},
		Wakes: framework.NodeAdded | framework.NodeLabels | framework.NodeTaints |
			framework.PodAdded | framework.PodLabels | framework.PodRemoved,
		Hint: func(c *snapshot.Cluster, p *snapshot.Pod, change framework.Change) bool {
			return change.Pod == nil || change.Pod.Namespace == p.Namespace && slices.ContainsFunc(hardSpread(c, p, defaults), func(k constraint) bool {
				return k.selector.Matches(labels.Set(change.Pod.Labels)) || change.Was != nil && k.selector.Matches(labels.Set(change.Was.Labels))
			})
		},
	}
}

const (
	reasonSpread      = "node(s) didn't match pod topology spread constraints"
	reasonSpreadLabel = "node(s) didn't match pod topology spread constraints (missing required label)"
)

// constraint is a parsed spread constraint.
type constraint struct {
	key        string
	maxSkew    int
	minDomains int
	selector   labels.Selector
	affinity   bool // count only nodes that the pod's node affinity matches
	taints     bool // count only nodes whose taints the pod tolerates
}

// constraints parses those of one action. With a selector, that is what they count instead of their own.
func constraints(p *snapshot.Pod, all []corev1.TopologySpreadConstraint, action corev1.UnsatisfiableConstraintAction, siblings labels.Selector) []constraint {
	var out []constraint
	for i := range all {
		in := &all[i]
		if in.WhenUnsatisfiable != action {
			continue
		}
		selector, err := siblings, error(nil)
		if selector == nil {
			selector, err = metav1.LabelSelectorAsSelector(in.LabelSelector)
		}
		if err != nil {
			selector = labels.Nothing()
		}
		out = append(out, constraint{
			key: in.TopologyKey, maxSkew: int(in.MaxSkew), minDomains: int(deref(in.MinDomains, 1)),
			selector: withLabelKeys(selector, in.MatchLabelKeys, p.Labels),
			affinity: deref(in.NodeAffinityPolicy, corev1.NodeInclusionPolicyHonor) == corev1.NodeInclusionPolicyHonor,
			taints:   deref(in.NodeTaintsPolicy, corev1.NodeInclusionPolicyIgnore) == corev1.NodeInclusionPolicyHonor,
		})
	}
	return out
}

// withLabelKeys adds that a pod must have the same values of these keys.
func withLabelKeys(s labels.Selector, keys []string, of map[string]string) labels.Selector {
	for _, key := range keys {
		if value, has := of[key]; has {
			if r, err := labels.NewRequirement(key, selection.Equals, []string{value}); err == nil {
				s = s.Add(*r)
			}
		}
	}
	return s
}

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// counted tells which nodes a constraint counts.
func counted(p *snapshot.Pod) func(*constraint, *snapshot.Node) bool {
	affinity := nodeaffinity.GetRequiredNodeAffinity(p.Pod)
	return func(c *constraint, n *snapshot.Node) bool {
		if c.affinity {
			if ok, _ := affinity.Match(n.Node); !ok {
				return false
			}
		}
		if c.taints {
			for i := range n.Spec.Taints {
				t := &n.Spec.Taints[i]
				if t.Effect != corev1.TaintEffectPreferNoSchedule && !tolerates(p.Spec.Tolerations, t) {
					return false
				}
			}
		}
		return true
	}
}

func hasKeys(n *snapshot.Node, cs []constraint) bool {
	for i := range cs {
		if _, has := n.Labels[cs[i].key]; !has {
			return false
		}
	}
	return true
}

// hardSpread are the constraints that a pod must keep.
func hardSpread(c *snapshot.Cluster, p *snapshot.Pod, defaults []corev1.TopologySpreadConstraint) []constraint {
	if own := p.Spec.TopologySpreadConstraints; len(own) > 0 {
		return constraints(p, own, corev1.DoNotSchedule, nil)
	}
	if !slices.ContainsFunc(defaults, func(k corev1.TopologySpreadConstraint) bool { return k.WhenUnsatisfiable == corev1.DoNotSchedule }) {
		return nil
	}
	siblings := c.Siblings(p)
	if siblings == nil {
		return nil
	}
	return constraints(p, defaults, corev1.DoNotSchedule, siblings)
}

func filterSpread(c *snapshot.Cluster, p *snapshot.Pod, hard []constraint) framework.FilterFunc {
	if len(hard) == 0 {
		return nil
	}
	domains := make([]map[string]int, len(hard))
	lowest := make([]int, len(hard))
	counts := counted(p)
	for i := range hard {
		h := &hard[i]
		domains[i] = map[string]int{}
		counter := c.CountSpread(p.Namespace, h.selector)
		for _, n := range c.Nodes() {
			if hasKeys(n, hard) && counts(h, n) {
				domains[i][n.Labels[h.key]] += counter.ByNode[n]
			}
		}
		lowest[i] = math.MaxInt
		for _, n := range domains[i] {
			lowest[i] = min(lowest[i], n)
		}
		if len(domains[i]) < h.minDomains {
			lowest[i] = 0
		}
	}
	return func(n *snapshot.Node) *framework.Status {
		for i := range hard {
			h := &hard[i]
			value, has := n.Labels[h.key]
			if !has {
				return framework.Never(reasonSpreadLabel)
			}
			self := 0
			if h.selector.Matches(labels.Set(p.Labels)) {
				self = 1
			}
			if lowest[i] != math.MaxInt && domains[i][value]+self-lowest[i] > h.maxSkew {
				return framework.Unfit(reasonSpread)
			}
		}
		return nil
	}
}

// softSpread are the constraints that nodes are compared by, and whether nodes that lack one of their keys are left out.
func softSpread(c *snapshot.Cluster, p *snapshot.Pod, defaults []corev1.TopologySpreadConstraint) (_ []constraint, all bool) {
	if own := p.Spec.TopologySpreadConstraints; len(own) > 0 {
		return constraints(p, own, corev1.ScheduleAnyway, nil), true
	}
	siblings := c.Siblings(p)
	if siblings == nil {
		return nil, false
	}
	if defaults != nil {
		return constraints(p, defaults, corev1.ScheduleAnyway, siblings), true
	}
	return []constraint{
		{key: corev1.LabelHostname, maxSkew: 3, selector: siblings, affinity: true},
		{key: corev1.LabelTopologyZone, maxSkew: 5, selector: siblings, affinity: true},
	}, false
}

func scoreSpread(c *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node, cs []constraint, own bool) []int64 {
	if len(cs) == 0 {
		return nil
	}
	ignored := make([]bool, len(nodes))
	rated := len(nodes)
	for i, n := range nodes {
		if own && !hasKeys(n, cs) {
			ignored[i] = true
			rated--
		}
	}
	sums := make([]float64, len(nodes))
	for i := range cs {
		addSpread(sums, &cs[i], c, p, nodes, ignored, rated, cs, own)
	}
	return normalizeSpread(sums, ignored)
}

// addSpread adds to each node what one constraint says of it: the pods in its domain, weighted by the logarithm of the
// number of domains, so that a topology of many small domains counts as much as one of few.
func addSpread(sums []float64, k *constraint, c *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node, ignored []bool, rated int, all []constraint, own bool) {
	counter := c.CountSpread(p.Namespace, k.selector)
	byNode := k.key == corev1.LabelHostname
	size := rated
	var domains map[string]int
	if !byNode {
		domains = map[string]int{}
		for i, n := range nodes {
			if value, has := n.Labels[k.key]; has && !ignored[i] {
				domains[value] = 0
			}
		}
		size = len(domains)
		counts := counted(p)
		for n, pods := range counter.ByNode {
			if n.Node == nil || own && !hasKeys(n, all) || !counts(k, n) {
				continue
			}
			if _, of := domains[n.Labels[k.key]]; of {
				domains[n.Labels[k.key]] += pods
			}
		}
	}
	weight := math.Log(float64(size + 2))
	for i, n := range nodes {
		value, has := n.Labels[k.key]
		if !has || ignored[i] {
			continue
		}
		pods := counter.ByNode[n]
		if !byNode {
			pods = domains[value]
		}
		sums[i] += float64(pods)*weight + float64(k.maxSkew-1)
	}
}

func normalizeSpread(sums []float64, ignored []bool) []int64 {
	scores := make([]int64, len(sums))
	lowest, highest := int64(math.MaxInt64), int64(0)
	for i, s := range sums {
		scores[i] = int64(math.Round(s))
		if !ignored[i] {
			lowest, highest = min(lowest, scores[i]), max(highest, scores[i])
		}
	}
	for i := range scores {
		switch {
		case ignored[i]:
			scores[i] = 0
		case highest == 0:
			scores[i] = framework.MaxScore
		default:
			scores[i] = framework.MaxScore * (highest + lowest - scores[i]) / highest
		}
	}
	return scores
}
