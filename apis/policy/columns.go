package policy

import (
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"coracle.dev/coracle/apis/resource"
)

type budget = *policyv1.PodDisruptionBudget

var budgetColumns = []resource.Column[budget]{
	resource.Name[budget](),
	resource.Text("Min Available", func(b budget) any { return orNA(b.Spec.MinAvailable) }),
	resource.Text("Max Unavailable", func(b budget) any { return orNA(b.Spec.MaxUnavailable) }),
	resource.Number("Allowed Disruptions", func(b budget) int32 { return b.Status.DisruptionsAllowed }),
	resource.Age[budget](),
}

func orNA(v *intstr.IntOrString) string {
	if v == nil {
		return "N/A"
	}
	return v.String()
}
