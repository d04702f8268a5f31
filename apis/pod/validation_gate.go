package pod

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checkGated: a pod that waits at a gate may still be told where to go, within what it was told before.
// What may differ is set back in rest.
func checkGated(path *field.Path, rest, old *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	if !equality.Semantic.DeepEqual(rest.NodeSelector, old.NodeSelector) {
		if !addsTo(rest.NodeSelector, old.NodeSelector) {
			errs = append(errs, field.Invalid(path.Child("nodeSelector"), rest.NodeSelector, "only additions to spec.nodeSelector are allowed (no mutations or deletions)"))
		}
		rest.NodeSelector = old.NodeSelector
	}
	now, was := nodeAffinity(rest), nodeAffinity(old)
	if equality.Semantic.DeepEqual(now, was) {
		return errs
	}
	errs = append(errs, checkNarrower(path.Child("affinity", "nodeAffinity"), now, was)...)
	switch {
	case rest.Affinity == nil:
		rest.Affinity = &corev1.Affinity{NodeAffinity: was}
	case old.Affinity == nil && rest.Affinity.PodAffinity == nil && rest.Affinity.PodAntiAffinity == nil:
		rest.Affinity = nil
	default:
		rest.Affinity.NodeAffinity = was
	}
	return errs
}

func nodeAffinity(s *corev1.PodSpec) *corev1.NodeAffinity {
	if s.Affinity == nil {
		return nil
	}
	return s.Affinity.NodeAffinity
}

// checkNarrower: terms that nodes must match gain requirements, and no more terms; preferences are free.
func checkNarrower(path *field.Path, now, was *corev1.NodeAffinity) field.ErrorList {
	old := requiredTerms(was)
	if len(old) == 0 {
		return nil
	}
	terms, path := requiredTerms(now), path.Child(required, "nodeSelectorTerms")
	if len(terms) != len(old) {
		return field.ErrorList{field.Invalid(path, terms, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")}
	}
	var errs field.ErrorList
	for i := range old {
		if !narrows(&terms[i], &old[i]) {
			errs = append(errs, field.Invalid(path.Index(i), terms[i], "only additions are allowed (no mutations or deletions)"))
		}
	}
	return errs
}

func requiredTerms(a *corev1.NodeAffinity) []corev1.NodeSelectorTerm {
	if a == nil || a.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	return a.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
}

// narrows reports whether the term has what the old one had. An empty term matches nothing, and would
// match more with anything in it.
func narrows(t, old *corev1.NodeSelectorTerm) bool {
	if len(old.MatchExpressions)+len(old.MatchFields) == 0 && len(t.MatchExpressions)+len(t.MatchFields) > 0 {
		return false
	}
	begins := func(list, with []corev1.NodeSelectorRequirement) bool {
		return len(list) >= len(with) && slices.EqualFunc(list[:len(with)], with, func(a, b corev1.NodeSelectorRequirement) bool {
			return equality.Semantic.DeepEqual(a, b)
		})
	}
	return begins(t.MatchExpressions, old.MatchExpressions) && begins(t.MatchFields, old.MatchFields)
}

func addsTo(labels, old map[string]string) bool {
	for key, value := range old {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}
