package policy

import (
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

func validateBudget(b budget) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if b.Spec.MinAvailable != nil && b.Spec.MaxUnavailable != nil {
		errs = append(errs, field.Invalid(path, b.Spec, "minAvailable and maxUnavailable cannot be both set"))
	}
	errs = append(errs, pod.CheckCountOrShare(path.Child("minAvailable"), b.Spec.MinAvailable)...)
	errs = append(errs, pod.CheckShare(path.Child("minAvailable"), b.Spec.MinAvailable)...)
	errs = append(errs, pod.CheckCountOrShare(path.Child("maxUnavailable"), b.Spec.MaxUnavailable)...)
	errs = append(errs, pod.CheckShare(path.Child("maxUnavailable"), b.Spec.MaxUnavailable)...)
	errs = append(errs, resource.Selector(path.Child("selector"), b.Spec.Selector)...)
	if p := b.Spec.UnhealthyPodEvictionPolicy; p != nil {
		errs = append(errs, resource.Supported(path.Child("unhealthyPodEvictionPolicy"), *p, policyv1.AlwaysAllow, policyv1.IfHealthyBudget)...)
	}
	return errs
}

func validateBudgetUpdate(b, _ budget) field.ErrorList { return validateBudget(b) }

func validateBudgetStatus(b, _ budget) field.ErrorList {
	path := field.NewPath("status")
	errs := resource.NotNegative(path.Child("disruptionsAllowed"), b.Status.DisruptionsAllowed)
	errs = append(errs, resource.NotNegative(path.Child("currentHealthy"), b.Status.CurrentHealthy)...)
	errs = append(errs, resource.NotNegative(path.Child("desiredHealthy"), b.Status.DesiredHealthy)...)
	return append(errs, resource.NotNegative(path.Child("expectedPods"), b.Status.ExpectedPods)...)
}
