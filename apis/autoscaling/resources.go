// Package autoscaling declares the horizontal pod autoscaler.
//
// autoscaling/v2 is the hub and what is stored; autoscaling/v1 is served by conversion. What v1 has
// no field for travels in the annotations that Kubernetes uses for it
// (autoscaling.alpha.kubernetes.io/metrics, /current-metrics, /conditions, /behavior), so that an
// object read and written in v1 loses nothing.
package autoscaling

import (
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"coracle.dev/coracle/apis/resource"
)

// Resources lists the resources of the group.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{horizontalPodAutoscalers.Describe()}
}

var horizontalPodAutoscalers = resource.Resource[*autoscalingv2.HorizontalPodAutoscaler]{
	Version:    autoscalingv2.SchemeGroupVersion,
	AlsoServed: []schema.GroupVersion{autoscalingv1.SchemeGroupVersion},
	Kind:       "HorizontalPodAutoscaler", Plural: "horizontalpodautoscalers",
	ShortNames: []string{"hpa"}, Categories: []string{"all"},
	New:                  func() *autoscalingv2.HorizontalPodAutoscaler { return &autoscalingv2.HorizontalPodAutoscaler{} },
	NewList:              func() runtime.Object { return &autoscalingv2.HorizontalPodAutoscalerList{} },
	Spec:                 func(o *autoscalingv2.HorizontalPodAutoscaler) any { return &o.Spec },
	Status:               func(o *autoscalingv2.HorizontalPodAutoscaler) any { return &o.Status },
	NoGeneration:         true,
	Default:              defaultAutoscaler,
	Columns:              autoscalerColumns,
	Validate:             validateAutoscaler,
	ValidateUpdate:       validateAutoscalerUpdate,
	ValidateStatusUpdate: validateAutoscalerStatus,
}
