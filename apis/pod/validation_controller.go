package pod

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// ValidateOwned returns every fault of the template of a controller that owns pods and keeps them
// running: its labels must be those that the controller selects by, its pods must not end by
// themselves. kind is the controller's, for the messages.
func ValidateOwned(t *corev1.PodTemplateSpec, selector labels.Selector, kind string, path *field.Path) field.ErrorList {
	errs := ValidateTemplate(t, path)
	if selector != nil && !selector.Empty() && !selector.Matches(labels.Set(t.Labels)) {
		errs = append(errs, field.Invalid(path.Child("metadata", "labels"), t.Labels, "`selector` does not match template `labels`"))
	}
	if t.Spec.RestartPolicy != corev1.RestartPolicyAlways && t.Spec.RestartPolicy != "" {
		errs = append(errs, resource.Supported(path.Child("spec", "restartPolicy"), t.Spec.RestartPolicy, corev1.RestartPolicyAlways)...)
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(path.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in "+kind+" is not Supported"))
	}
	return errs
}

// CheckOwnSelector checks the selector of a controller, which must not select everything. The selector
// is nil where it has faults.
func CheckOwnSelector(path *field.Path, s *metav1.LabelSelector, kind string) (labels.Selector, field.ErrorList) {
	if s == nil {
		return nil, field.ErrorList{field.Required(path, "")}
	}
	errs := resource.Selector(path, s)
	if len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
		errs = append(errs, field.Invalid(path, s, "empty selector is invalid for "+kind))
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		errs = append(errs, field.Invalid(path, s, "invalid label selector"))
		return nil, errs
	}
	return selector, errs
}

// CheckReplicaCounts checks the counts of a controller's status, of which none exceeds the first.
func CheckReplicaCounts(path *field.Path, replicas, labelled, ready, available int32, generation int64) field.ErrorList {
	errs := resource.NotNegative(path.Child("observedGeneration"), generation)
	for _, n := range []struct {
		name  string
		count int32
	}{{"replicas", replicas}, {"fullyLabeledReplicas", labelled}, {"readyReplicas", ready}, {"availableReplicas", available}} {
		errs = append(errs, resource.NotNegative(path.Child(n.name), n.count)...)
		if n.count > replicas {
			errs = append(errs, field.Invalid(path.Child(n.name), n.count, "cannot be greater than status.replicas"))
		}
	}
	if available > ready {
		errs = append(errs, field.Invalid(path.Child("availableReplicas"), available, "cannot be greater than readyReplicas"))
	}
	return errs
}

// CheckCountOrShare checks a number of pods that is given as such or as a percentage.
func CheckCountOrShare(path *field.Path, v *intstr.IntOrString) field.ErrorList {
	switch {
	case v == nil:
		return nil
	case v.Type == intstr.String:
		return resource.Messages(path, v, utilvalidation.IsValidPercent(v.StrVal))
	}
	return resource.NotNegative(path, v.IntVal)
}

// CheckShare forbids more than 100 %.
func CheckShare(path *field.Path, v *intstr.IntOrString) field.ErrorList {
	if v == nil || v.Type != intstr.String {
		return nil
	}
	if n, err := strconv.Atoi(strings.TrimSuffix(v.StrVal, "%")); err == nil && n > 100 {
		return field.ErrorList{field.Invalid(path, v, "must not be greater than 100%")}
	}
	return nil
}
