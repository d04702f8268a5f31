package autoscaling

import (
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// AddDefaults registers the defaults of v1, the version that is not the hub, and of Scale.
func AddDefaults(s *runtime.Scheme) {
	s.AddTypeDefaultingFunc(&autoscalingv1.HorizontalPodAutoscaler{}, func(o any) {
		if hpa := o.(*autoscalingv1.HorizontalPodAutoscaler); hpa.Spec.MinReplicas == nil {
			one := int32(1)
			hpa.Spec.MinReplicas = &one
		}
	})
}
