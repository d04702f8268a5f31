package autoscaling

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func full() *autoscalingv2.HorizontalPodAutoscaler {
	q := func(s string) *apiresource.Quantity { v := apiresource.MustParse(s); return &v }
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{"own": "kept"}},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			MinReplicas: new(int32(2)), MaxReplicas: 9,
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "web"},
			Metrics: []autoscalingv2.MetricSpec{
				{Type: "Resource", Resource: &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceMemory,
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: q("1Gi")}}},
				{Type: "Object", Object: &autoscalingv2.ObjectMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "hits"},
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: q("10k")}}},
				{Type: "External", External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "queue",
					Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}},
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: q("30")}}},
				cpuMetric(70),
			},
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{
				StabilizationWindowSeconds: new(int32(60)), Tolerance: q("0.1"),
			}},
		},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{
			CurrentReplicas: 3, DesiredReplicas: 4,
			CurrentMetrics: []autoscalingv2.MetricStatus{cpuStatus(55)},
			Conditions:     []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionTrue, Reason: "Valid"}},
		},
	}
}

// TestV1LosesNothing: v2 to v1 and back is the same object.
func TestV1LosesNothing(t *testing.T) {
	var v1 autoscalingv1.HorizontalPodAutoscaler
	var back autoscalingv2.HorizontalPodAutoscaler
	if err := ConvertV2ToV1(full(), &v1); err != nil {
		t.Fatal(err)
	}
	if err := ConvertV1ToV2(&v1, &back); err != nil {
		t.Fatal(err)
	}
	if want := full(); !equality.Semantic.DeepEqual(want, &back) {
		t.Errorf("-sent +got:\n%s", cmp.Diff(want, &back))
	}
}

func TestV1Form(t *testing.T) {
	var v1 autoscalingv1.HorizontalPodAutoscaler
	if err := ConvertV2ToV1(full(), &v1); err != nil {
		t.Fatal(err)
	}
	if p := v1.Spec.TargetCPUUtilizationPercentage; p == nil || *p != 70 {
		t.Errorf("target %v, want 70", p)
	}
	if p := v1.Status.CurrentCPUUtilizationPercentage; p == nil || *p != 55 {
		t.Errorf("current %v, want 55", p)
	}
	// The form of the annotation is that of Kubernetes: flat targets, CPU left out.
	var metrics []map[string]any
	if err := json.Unmarshal([]byte(v1.Annotations[metricsAnnotation]), &metrics); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"type": "Resource", "resource": map[string]any{"name": "memory", "targetAverageValue": "1Gi"}}
	if diff := cmp.Diff(want, metrics[0]); diff != "" || len(metrics) != 3 {
		t.Errorf("%d metrics, first (-want +got):\n%s", len(metrics), diff)
	}
	if v1.Annotations["own"] != "kept" {
		t.Error("the object's own annotation is gone")
	}
}

func TestBrokenAnnotationIsDropped(t *testing.T) {
	v1 := &autoscalingv1.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{metricsAnnotation: "{"}}}
	var v2 autoscalingv2.HorizontalPodAutoscaler
	if err := ConvertV1ToV2(v1, &v2); err != nil {
		t.Fatal(err)
	}
	if len(v2.Annotations) != 0 || len(v2.Spec.Metrics) != 0 {
		t.Errorf("annotations %v, metrics %v", v2.Annotations, v2.Spec.Metrics)
	}
}
