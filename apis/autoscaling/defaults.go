package autoscaling

import (
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/runtime"

	"coracle.dev/coracle/apis/resource"
)

// cpuPercent is the target of an autoscaler that names no metric.
const cpuPercent = 80

// AddDefaults registers the defaults of v1, the version that is not the hub.
func AddDefaults(s *runtime.Scheme) {
	s.AddTypeDefaultingFunc(&autoscalingv1.HorizontalPodAutoscaler{}, func(o any) {
		resource.SetPointer(&o.(*autoscalingv1.HorizontalPodAutoscaler).Spec.MinReplicas, 1)
	})
}

func defaultAutoscaler(a *autoscalingv2.HorizontalPodAutoscaler) {
	resource.SetPointer(&a.Spec.MinReplicas, 1)
	if len(a.Spec.Metrics) == 0 {
		a.Spec.Metrics = []autoscalingv2.MetricSpec{cpuMetric(cpuPercent)}
	}
	b := a.Spec.Behavior
	if b == nil {
		return
	}
	resource.SetPointer(&b.ScaleUp, autoscalingv2.HPAScalingRules{})
	resource.SetPointer(&b.ScaleUp.StabilizationWindowSeconds, 0)
	defaultRules(b.ScaleUp,
		autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15},
		autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15})
	// How long to wait before scaling down is for the controller to say.
	resource.SetPointer(&b.ScaleDown, autoscalingv2.HPAScalingRules{})
	defaultRules(b.ScaleDown, autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15})
}

func defaultRules(r *autoscalingv2.HPAScalingRules, policies ...autoscalingv2.HPAScalingPolicy) {
	resource.SetPointer(&r.SelectPolicy, autoscalingv2.MaxChangePolicySelect)
	if r.Policies == nil {
		r.Policies = policies
	}
}
