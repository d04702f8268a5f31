package autoscaling

import (
	"encoding/json"
	"maps"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
)

// The annotations in which v1 carries what it has no fields for.
const (
	metricsAnnotation        = "autoscaling.alpha.kubernetes.io/metrics"
	currentMetricsAnnotation = "autoscaling.alpha.kubernetes.io/current-metrics"
	conditionsAnnotation     = "autoscaling.alpha.kubernetes.io/conditions"
	behaviorAnnotation       = "autoscaling.alpha.kubernetes.io/behavior"
)

var roundTripAnnotations = []string{metricsAnnotation, currentMetricsAnnotation, conditionsAnnotation, behaviorAnnotation}

// AddConversions registers the conversions between v1 and v2, of objects and of lists.
func AddConversions(s *runtime.Scheme) error {
	for _, add := range []func() error{
		func() error { return convert(s, ConvertV1ToV2) },
		func() error { return convert(s, ConvertV2ToV1) },
		func() error { return convert(s, convertListV1ToV2) },
		func() error { return convert(s, convertListV2ToV1) },
	} {
		if err := add(); err != nil {
			return err
		}
	}
	return nil
}

func convert[A, B any](s *runtime.Scheme, f func(*A, *B) error) error {
	return s.AddConversionFunc((*A)(nil), (*B)(nil), func(in, out any, _ conversion.Scope) error {
		return f(in.(*A), out.(*B))
	})
}

// ConvertV1ToV2 fills out from in; the round-trip annotations become fields. One that does not parse
// is dropped, as Kubernetes does.
func ConvertV1ToV2(in *autoscalingv1.HorizontalPodAutoscaler, out *autoscalingv2.HorizontalPodAutoscaler) error {
	*out = autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: *in.ObjectMeta.DeepCopy()}
	out.Spec = autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference(in.Spec.ScaleTargetRef),
		MinReplicas:    clone(in.Spec.MinReplicas),
		MaxReplicas:    in.Spec.MaxReplicas,
	}
	out.Status = autoscalingv2.HorizontalPodAutoscalerStatus{
		ObservedGeneration: clone(in.Status.ObservedGeneration),
		LastScaleTime:      in.Status.LastScaleTime.DeepCopy(),
		CurrentReplicas:    in.Status.CurrentReplicas,
		DesiredReplicas:    in.Status.DesiredReplicas,
	}
	var metrics []autoscalingv1.MetricSpec
	if parse(in.Annotations, metricsAnnotation, &metrics) {
		for i := range metrics {
			out.Spec.Metrics = append(out.Spec.Metrics, metricToV2(&metrics[i]))
		}
	}
	if p := in.Spec.TargetCPUUtilizationPercentage; p != nil {
		out.Spec.Metrics = append(out.Spec.Metrics, cpuMetric(*p))
	}
	parse(in.Annotations, behaviorAnnotation, &out.Spec.Behavior)

	var current []autoscalingv1.MetricStatus
	if parse(in.Annotations, currentMetricsAnnotation, &current) {
		for i := range current {
			out.Status.CurrentMetrics = append(out.Status.CurrentMetrics, metricStatusToV2(&current[i]))
		}
	} else if p := in.Status.CurrentCPUUtilizationPercentage; p != nil {
		out.Status.CurrentMetrics = []autoscalingv2.MetricStatus{cpuStatus(*p)}
	}
	parse(in.Annotations, conditionsAnnotation, &out.Status.Conditions)
	out.Annotations = withoutRoundTrip(out.Annotations)
	return nil
}

// ConvertV2ToV1 fills out from in; what v1 has no fields for goes into annotations.
func ConvertV2ToV1(in *autoscalingv2.HorizontalPodAutoscaler, out *autoscalingv1.HorizontalPodAutoscaler) error {
	*out = autoscalingv1.HorizontalPodAutoscaler{ObjectMeta: *in.ObjectMeta.DeepCopy()}
	out.Annotations = withoutRoundTrip(out.Annotations)
	out.Spec = autoscalingv1.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv1.CrossVersionObjectReference(in.Spec.ScaleTargetRef),
		MinReplicas:    clone(in.Spec.MinReplicas),
		MaxReplicas:    in.Spec.MaxReplicas,
	}
	out.Status = autoscalingv1.HorizontalPodAutoscalerStatus{
		ObservedGeneration: clone(in.Status.ObservedGeneration),
		LastScaleTime:      in.Status.LastScaleTime.DeepCopy(),
		CurrentReplicas:    in.Status.CurrentReplicas,
		DesiredReplicas:    in.Status.DesiredReplicas,
	}
	var others []autoscalingv1.MetricSpec
	for i := range in.Spec.Metrics {
		if p := cpuUtilization(&in.Spec.Metrics[i]); p != nil && out.Spec.TargetCPUUtilizationPercentage == nil {
			out.Spec.TargetCPUUtilizationPercentage = clone(p)
			continue
		}
		others = append(others, metricToV1(&in.Spec.Metrics[i]))
	}
	var current []autoscalingv1.MetricStatus
	for i := range in.Status.CurrentMetrics {
		m := &in.Status.CurrentMetrics[i]
		if m.Resource != nil && m.Resource.Name == corev1.ResourceCPU {
			out.Status.CurrentCPUUtilizationPercentage = clone(m.Resource.Current.AverageUtilization)
		}
		current = append(current, metricStatusToV1(m))
	}
	set := annotator{&out.ObjectMeta.Annotations, nil}
	set.add(metricsAnnotation, others, len(others) > 0)
	set.add(behaviorAnnotation, in.Spec.Behavior, in.Spec.Behavior != nil)
	set.add(currentMetricsAnnotation, current, len(current) > 0)
	set.add(conditionsAnnotation, in.Status.Conditions, len(in.Status.Conditions) > 0)
	return set.err
}

func convertListV1ToV2(in *autoscalingv1.HorizontalPodAutoscalerList, out *autoscalingv2.HorizontalPodAutoscalerList) error {
	out.ListMeta = *in.ListMeta.DeepCopy()
	out.Items = make([]autoscalingv2.HorizontalPodAutoscaler, len(in.Items))
	for i := range in.Items {
		if err := ConvertV1ToV2(&in.Items[i], &out.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

func convertListV2ToV1(in *autoscalingv2.HorizontalPodAutoscalerList, out *autoscalingv1.HorizontalPodAutoscalerList) error {
	out.ListMeta = *in.ListMeta.DeepCopy()
	out.Items = make([]autoscalingv1.HorizontalPodAutoscaler, len(in.Items))
	for i := range in.Items {
		if err := ConvertV2ToV1(&in.Items[i], &out.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

func cpuMetric(percent int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{
		Type: autoscalingv2.ResourceMetricSourceType,
		Resource: &autoscalingv2.ResourceMetricSource{
			Name:   corev1.ResourceCPU,
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent},
		},
	}
}

func cpuStatus(percent int32) autoscalingv2.MetricStatus {
	return autoscalingv2.MetricStatus{
		Type: autoscalingv2.ResourceMetricSourceType,
		Resource: &autoscalingv2.ResourceMetricStatus{
			Name:    corev1.ResourceCPU,
			Current: autoscalingv2.MetricValueStatus{AverageUtilization: &percent, AverageValue: &apiresource.Quantity{}},
		},
	}
}

// cpuUtilization is the target of the one metric for which v1 has a field, else nil.
func cpuUtilization(m *autoscalingv2.MetricSpec) *int32 {
	if m.Type != autoscalingv2.ResourceMetricSourceType || m.Resource == nil || m.Resource.Name != corev1.ResourceCPU {
		return nil
	}
	return m.Resource.Target.AverageUtilization
}

type annotator struct {
	annotations *map[string]string
	err         error
}

func (a *annotator) add(key string, value any, wanted bool) {
	if !wanted || a.err != nil {
		return
	}
	text, err := json.Marshal(value)
	if err != nil {
		a.err = err
		return
	}
	if *a.annotations == nil {
		*a.annotations = map[string]string{}
	}
	(*a.annotations)[key] = string(text)
}

func parse(annotations map[string]string, key string, into any) bool {
	text, ok := annotations[key]
	return ok && json.Unmarshal([]byte(text), into) == nil
}

func withoutRoundTrip(in map[string]string) map[string]string {
	out := maps.Clone(in)
	for _, key := range roundTripAnnotations {
		delete(out, key)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
