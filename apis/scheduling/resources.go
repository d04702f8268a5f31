// Package scheduling declares the priority class.
package scheduling

import (
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"coracle.dev/coracle/apis/resource"
)

// Resources lists the resources of the group.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{priorityClasses.Describe()}
}

var priorityClasses = resource.Resource[*schedulingv1.PriorityClass]{
	Version: schedulingv1.SchemeGroupVersion, Kind: "PriorityClass", Plural: "priorityclasses",
	ShortNames: []string{"pc"}, ClusterScoped: true,
	New:              func() *schedulingv1.PriorityClass { return &schedulingv1.PriorityClass{} },
	NewList:          func() runtime.Object { return &schedulingv1.PriorityClassList{} },
	Default:          defaultPriorityClass,
	PrepareForCreate: func(c *schedulingv1.PriorityClass) { c.Generation = 1 },
	Columns:          priorityClassColumns,
	Validate:         validatePriorityClass,
	ValidateUpdate:   validatePriorityClassUpdate,
}
