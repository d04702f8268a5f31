package removed

import (
	policyv1 "k8s.io/api/policy/v1"
	policyv1beta1 "k8s.io/api/policy/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// noPods is a label that no pod has. In policy/v1beta1 the empty selector selects none, in v1 all.
const noPods = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match"

var disruptionBudget = rules[policyv1beta1.PodDisruptionBudget, policyv1.PodDisruptionBudget]{
	to: func(old *policyv1beta1.PodDisruptionBudget, now *policyv1.PodDisruptionBudget) {
		switch s := old.Spec.Selector; {
		case s == nil:
		case len(s.MatchLabels)+len(s.MatchExpressions) == 0:
			now.Spec.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: noPods, Operator: metav1.LabelSelectorOpExists}}}
		case selectsAll(s):
			now.Spec.Selector = &metav1.LabelSelector{}
		}
	},
	from: func(now *policyv1.PodDisruptionBudget, old *policyv1beta1.PodDisruptionBudget) {
		switch s := now.Spec.Selector; {
		case s == nil:
		case len(s.MatchLabels)+len(s.MatchExpressions) == 0:
			old.Spec.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: noPods, Operator: metav1.LabelSelectorOpDoesNotExist}}}
		case isOnly(s, metav1.LabelSelectorOpExists):
			old.Spec.Selector = &metav1.LabelSelector{}
		}
	},
}

func selectsAll(s *metav1.LabelSelector) bool { return isOnly(s, metav1.LabelSelectorOpDoesNotExist) }

// isOnly reports whether the selector says no more than that pods have, or have not, the label noPods.
func isOnly(s *metav1.LabelSelector, op metav1.LabelSelectorOperator) bool {
	return len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 1 &&
		s.MatchExpressions[0].Key == noPods && s.MatchExpressions[0].Operator == op
}
