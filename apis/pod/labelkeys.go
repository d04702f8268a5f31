package pod

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ResolveLabelKeys writes the values that the pod has for matchLabelKeys and mismatchLabelKeys into
// the selectors beside them, which is what the scheduler then looks at.
func ResolveLabelKeys(p *corev1.Pod) {
	if a := p.Spec.Affinity; a != nil {
		if a.PodAffinity != nil {
			resolveTerms(p, a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		}
		if a.PodAntiAffinity != nil {
			resolveTerms(p, a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		}
	}
	for i := range p.Spec.TopologySpreadConstraints {
		c := &p.Spec.TopologySpreadConstraints[i]
		appendKeys(p, c.LabelSelector, c.MatchLabelKeys, metav1.LabelSelectorOpIn)
	}
}

func resolveTerms(p *corev1.Pod, required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
	resolve := func(t *corev1.PodAffinityTerm) {
		appendKeys(p, t.LabelSelector, t.MatchLabelKeys, metav1.LabelSelectorOpIn)
		appendKeys(p, t.LabelSelector, t.MismatchLabelKeys, metav1.LabelSelectorOpNotIn)
	}
	for i := range required {
		resolve(&required[i])
	}
	for i := range preferred {
		resolve(&preferred[i].PodAffinityTerm)
	}
}

// appendKeys leaves out keys that the pod has no label for, and a selector that is not there.
func appendKeys(p *corev1.Pod, s *metav1.LabelSelector, keys []string, op metav1.LabelSelectorOperator) {
	if s == nil {
		return
	}
	for _, key := range keys {
		value, ok := p.Labels[key]
		if !ok {
			continue
		}
		want := metav1.LabelSelectorRequirement{Key: key, Operator: op, Values: []string{value}}
		if !slices.ContainsFunc(s.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool {
			return r.Key == want.Key && r.Operator == want.Operator && slices.Equal(r.Values, want.Values)
		}) {
			s.MatchExpressions = append(s.MatchExpressions, want)
		}
	}
}
