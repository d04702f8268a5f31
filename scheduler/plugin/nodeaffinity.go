package plugin

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// NodeAffinity keeps a pod to the nodes that its nodeSelector and required node affinity match, and prefers those of
// its preferred terms.
//
// added is an affinity that all pods have besides their own; nil is none.
func NodeAffinity(added *corev1.NodeAffinity) framework.Plugin {
	var required *nodeaffinity.LazyErrorNodeSelector
	var preferred []corev1.PreferredSchedulingTerm
	if added != nil {
		preferred = added.PreferredDuringSchedulingIgnoredDuringExecution
		if r := added.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
			required = nodeaffinity.NewLazyErrorNodeSelector(r)
		}
	}
	return framework.Plugin{
		Name: "NodeAffinity", Wakes: framework.NodeAdded | framework.NodeLabels, Local: true, Weight: 2,
		Filter: func(_ *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
			return filterNodeAffinity(p, required), nil
		},
		Narrow: namedNodes,
		Score: func(_ *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node) []int64 {
			return scoreNodeAffinity(p, nodes, preferred)
		},
	}
}

func filterNodeAffinity(p *snapshot.Pod, added *nodeaffinity.LazyErrorNodeSelector) framework.FilterFunc {
	if len(p.Spec.NodeSelector) == 0 && requiredNodeAffinity(p) == nil && added == nil {
		return nil
	}
	affinity := nodeaffinity.GetRequiredNodeAffinity(p.Pod)
	return func(n *snapshot.Node) *framework.Status {
		if added != nil {
			if ok, err := added.Match(n.Node); err != nil || !ok {
				return framework.Never("node(s) didn't match scheduler-enforced node affinity")
			}
		}
		if ok, err := affinity.Match(n.Node); err != nil || !ok {
			return framework.Never("node(s) didn't match Pod's node affinity/selector")
		}
		return nil
	}
}

func requiredNodeAffinity(p *snapshot.Pod) *corev1.NodeSelector {
	if a := p.Spec.Affinity; a != nil && a.NodeAffinity != nil {
		return a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	return nil
}

// namedNodes are the nodes of a pod of which every term names nodes, as those of a DaemonSet do.
func namedNodes(p *snapshot.Pod) (names []string, narrowed bool) {
	required := requiredNodeAffinity(p)
	if required == nil || len(required.NodeSelectorTerms) == 0 {
		return nil, false
	}
	for _, term := range required.NodeSelectorTerms {
		named := false
		for _, f := range term.MatchFields {
			if f.Key == metadataName && f.Operator == corev1.NodeSelectorOpIn {
				names, named = append(names, f.Values...), true
			}
		}
		if !named {
			return nil, false
		}
	}
	return names, true
}

const metadataName = "metadata.name"

func scoreNodeAffinity(p *snapshot.Pod, nodes []*snapshot.Node, added []corev1.PreferredSchedulingTerm) []int64 {
	terms := added
	if a := p.Spec.Affinity; a != nil && a.NodeAffinity != nil {
		terms = slices.Concat(added, a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if len(terms) == 0 {
		return nil
	}
	preferred, err := nodeaffinity.NewPreferredSchedulingTerms(terms)
	if err != nil {
		return nil
	}
	scores := make([]int64, len(nodes))
	for i, n := range nodes {
		scores[i] = preferred.Score(n.Node)
	}
	return normalize(scores, false)
}
