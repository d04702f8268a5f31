// Package policy declares the pod disruption budget. Evictions are not stored; the API server serves
// them as a subresource of pods.
package policy

import (
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"coracle.dev/coracle/apis/resource"
)

// Resources lists the resources of the group.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{podDisruptionBudgets.Describe()}
}

var podDisruptionBudgets = resource.Resource[*policyv1.PodDisruptionBudget]{
	Version: policyv1.SchemeGroupVersion, Kind: "PodDisruptionBudget", Plural: "poddisruptionbudgets", ShortNames: []string{"pdb"},
	New:                    func() *policyv1.PodDisruptionBudget { return &policyv1.PodDisruptionBudget{} },
	NewList:                func() runtime.Object { return &policyv1.PodDisruptionBudgetList{} },
	Spec:                   func(o *policyv1.PodDisruptionBudget) any { return &o.Spec },
	Status:                 func(o *policyv1.PodDisruptionBudget) any { return &o.Status },
	RequireResourceVersion: true,
	Columns:                budgetColumns,
	Validate:               validateBudget,
	ValidateUpdate:         validateBudgetUpdate,
	ValidateStatusUpdate:   validateBudgetStatus,
}
