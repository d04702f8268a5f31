package horizontalpodautoscaler

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type change func(*autoscalingv2.HorizontalPodAutoscaler)

// scaler is an autoscaler from 1 to 10 of the given metrics.
func scaler(metrics []autoscalingv2.MetricSpec, change ...change) *autoscalingv2.HorizontalPodAutoscaler {
	h := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "h", Generation: 2}}
	h.Spec = autoscalingv2.HorizontalPodAutoscalerSpec{MinReplicas: new(int32(1)), MaxReplicas: 10, Metrics: metrics}
	for _, f := range change {
		f(h)
	}
	return h
}

func bounds(least, most int32) change {
	return func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.MinReplicas, h.Spec.MaxReplicas = &least, most
	}
}

func behavior(up, down *autoscalingv2.HPAScalingRules) change {
	return func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: up, ScaleDown: down}
	}
}

func cpu(percent int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceCPU,
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent}}}
}

func memory(each string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceMemory,
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity(each)}}}
}

func sidecar(percent int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ContainerResourceMetricSourceType, ContainerResource: &autoscalingv2.ContainerResourceMetricSource{
		Name: corev1.ResourceCPU, Container: "side", Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent}}}
}

func ofPods(each string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "requests"}, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity(each)}}}
}

func ofObject(value string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{Kind: "Service", Name: "s"}, Metric: autoscalingv2.MetricIdentifier{Name: "hits"},
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: quantity(value)}}}
}

func external(each string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "queue"}, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity(each)}}}
}

func quantity(s string) *resource.Quantity { return new(resource.MustParse(s)) }

// pods are a target's pods and what each uses, from words like "300", a number
// in thousandths, "300:starting", "?:pending" or "?" for one without a metric.
// Each requests 1 CPU, of which 100m is for the container "side".
func pods(text string) ([]*corev1.Pod, map[string]sample) {
	var all []*corev1.Pod
	samples := map[string]sample{}
	for i, word := range strings.Fields(text) {
		value, mark, _ := strings.Cut(word, ":")
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p", i)}}
		p.Spec.Containers = []corev1.Container{{Name: "c"}, {Name: "side"}}
		for i, request := range []string{"900m", "100m"} {
			p.Spec.Containers[i].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(request)}
		}
		begun := now.Add(-time.Hour)
		ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue}
		p.Status.Phase = corev1.PodRunning
		switch mark {
		case "starting":
			begun, ready.Status = now.Add(-time.Minute), corev1.ConditionFalse
		case "pending":
			p.Status.Phase, ready.Status = corev1.PodPending, corev1.ConditionFalse
		case "deleted":
			p.DeletionTimestamp = &metav1.Time{Time: now}
		case "mute":
			p.Spec.Containers[0].Resources = corev1.ResourceRequirements{}
		}
		p.Status.StartTime = &metav1.Time{Time: begun}
		ready.LastTransitionTime = metav1.NewTime(begun)
		p.Status.Conditions = []corev1.PodCondition{ready}
		all = append(all, p)
		var n int64
		if _, err := fmt.Sscan(value, &n); err == nil {
			samples[p.Name] = sample{n, now, time.Minute}
		}
	}
	return all, samples
}

func look(h *autoscalingv2.HorizontalPodAutoscaler, current int32, text string, readings ...reading) observed {
	all, samples := pods(text)
	o := observed{hpa: h, scale: &autoscalingv1.Scale{}, pods: all, readings: readings}
	o.scale.Spec.Replicas, o.scale.Status.Replicas = current, current
	for range h.Spec.Metrics[len(readings):] {
		o.readings = append(o.readings, reading{samples: samples})
	}
	return o
}

func total(n int64) reading { return reading{total: n * 1000} }

func TestPlan(t *testing.T) {
	broken := reading{err: errors.New("boom")}
	one := func(m autoscalingv2.MetricSpec, c ...change) *autoscalingv2.HorizontalPodAutoscaler {
		return scaler([]autoscalingv2.MetricSpec{m}, c...)
	}
	now0 := behavior(nil, &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(0))})
	for _, tc := range []struct {
		name string
		o    observed
		want int32
		// says are the reasons of the conditions, with a minus where not true.
		says string
	}{
		{"at its target", look(one(cpu(50)), 2, "500 500"), 2, "ReadyForNewScale ValidMetricFound -DesiredWithinRange"},
		{"within the tolerance", look(one(cpu(50)), 2, "540 540"), 2, ""},
		{"within a tolerance of its own", look(one(cpu(50), behavior(&autoscalingv2.HPAScalingRules{Tolerance: quantity("0.5")}, nil)), 2, "700 700"), 2, ""},
		{"beyond a tolerance of its own", look(one(cpu(50), behavior(&autoscalingv2.HPAScalingRules{Tolerance: quantity("0.01")}, nil)), 2, "520 520"), 3, ""},
		{"up by load", look(one(cpu(50)), 2, "900 900"), 4, "ReadyForNewScale ValidMetricFound -DesiredWithinRange"},
		{"down by load, without waiting", look(one(cpu(50), now0), 4, "100 100 100 100"), 1, ""},
		{"at most the maximum", look(one(cpu(10)), 8, "900 900 900 900 900 900 900 900"), 10, "ReadyForNewScale ValidMetricFound TooManyReplicas"},
		{"at least the minimum", look(one(cpu(90), now0, bounds(2, 10)), 3, "1 1 1"), 2, "ReadyForNewScale ValidMetricFound TooFewReplicas"},
		{"up no faster than four or double", look(one(cpu(10)), 1, "1000"), 5, "ReadyForNewScale ValidMetricFound ScaleUpLimit"},
		{"above the maximum", look(one(cpu(50), bounds(1, 3)), 5, ""), 3, "SucceededGetScale"},
		{"below the minimum", look(one(cpu(50), bounds(4, 6)), 2, ""), 4, "SucceededGetScale"},
		{"switched off", look(one(cpu(50)), 0, ""), 0, "SucceededGetScale -ScalingDisabled"},
		{"memory by value", look(one(memory("100")), 2, "150000 250000"), 4, ""},
		{"one container", look(one(sidecar(50)), 2, "90 90"), 4, ""},
		{"pods' own metric", look(one(ofPods("10")), 2, "15000 15000"), 3, ""},
		{"an object's metric", look(one(ofObject("10")), 2, "0 0", total(30)), 6, ""},
		{"an external metric", look(one(external("5")), 2, "0 0", total(20)), 4, ""},
		{"an external metric within the tolerance", look(one(external("5")), 4, "0 0 0 0", total(21)), 4, ""},
		{"the metric that asks for most", look(scaler([]autoscalingv2.MetricSpec{external("5"), cpu(50)}), 2, "600 600", total(25)), 5, ""},
		{"one metric broken, the other asks for more", look(scaler([]autoscalingv2.MetricSpec{external("5"), cpu(50)}), 2, "900 900", broken), 4, ""},
		{"one metric broken, the other asks for fewer", look(scaler([]autoscalingv2.MetricSpec{external("5"), cpu(50)}), 2, "100 100", broken), 2, "SucceededGetScale -FailedGetExternalMetric"},
		{"no metric", look(one(cpu(50)), 2, "900 900", broken), 2, "SucceededGetScale -FailedGetResourceMetric"},
		{"no request", look(one(cpu(50)), 2, "900:mute 900"), 2, "SucceededGetScale -FailedGetResourceMetric"},
		{"missing are idle on the way up", look(one(cpu(50)), 3, "900 900 ?"), 4, ""},
		{"missing use all on the way down", look(one(cpu(50), now0), 3, "100 100 ?"), 3, ""},
		{"starting pods are idle on the way up", look(one(cpu(50)), 3, "900 900 900:starting"), 4, ""},
		{"starting pods do not count on the way down", look(one(cpu(50), now0), 3, "100 100 900:starting"), 1, ""},
		{"pending pods are idle on the way up", look(one(cpu(50)), 3, "900 ?:pending ?:pending"), 3, ""},
		{"deleted pods do not count", look(one(cpu(50)), 1, "500 900:deleted"), 1, ""},
		{"one waits before going down", func() observed {
			o := look(one(cpu(50)), 4, "100 100 100 100")
			o.history.recommended = []past{{4, now.Add(-time.Minute)}}
			return o
		}(), 4, "ScaleDownStabilized ValidMetricFound -DesiredWithinRange"},
		{"one has waited", func() observed {
			o := look(one(cpu(50)), 4, "100 100 100 100")
			o.history.recommended = []past{{4, now.Add(-301 * time.Second)}, {2, now.Add(-time.Minute)}}
			return o
		}(), 2, "ScaleDownStabilized ValidMetricFound -DesiredWithinRange"},
		{"a policy counts what was done", func() observed {
			o := look(one(cpu(10), behavior(&autoscalingv2.HPAScalingRules{Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 3, PeriodSeconds: 60}}}, nil)), 4, "900 900 900 900")
			o.history.ups = []past{{2, now.Add(-30 * time.Second)}, {2, now.Add(-90 * time.Second)}}
			return o
		}(), 5, "ReadyForNewScale ValidMetricFound ScaleUpLimit"},
		{"the stricter of two policies", look(one(cpu(50), behavior(nil, &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(0)), SelectPolicy: new(autoscalingv2.MinChangePolicySelect),
			Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 60}, {Type: autoscalingv2.PercentScalingPolicy, Value: 50, PeriodSeconds: 60}}})), 4, "1 1 1 1"), 3, "ReadyForNewScale ValidMetricFound ScaleDownLimit"},
		{"never down", look(one(cpu(50), behavior(nil, &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(0)), SelectPolicy: new(autoscalingv2.DisabledPolicySelect)})), 4, "1 1 1 1"), 4, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := plan(tc.o, now)
			if a.replicas != tc.want || a.rescale != (tc.want != tc.o.scale.Spec.Replicas) {
				t.Errorf("replicas are to be %d (%v), not %d", a.replicas, a.why, tc.want)
			}
			var says []string
			for _, c := range a.status.Conditions {
				says = append(says, map[corev1.ConditionStatus]string{corev1.ConditionTrue: "", corev1.ConditionFalse: "-"}[c.Status]+c.Reason)
			}
			if got := strings.Join(says, " "); tc.says != "" && got != tc.says {
				t.Errorf("says %q, not %q", got, tc.says)
			}
			if a.rescale && a.why == "" {
				t.Error("no reason is given")
			}
		})
	}
}

func TestStatus(t *testing.T) {
	a := plan(look(scaler([]autoscalingv2.MetricSpec{cpu(50), external("5")}), 2, "600 800", reading{samples: func() map[string]sample { _, s := pods("600 800"); return s }()}, total(9)), now)
	st := a.status
	if st.CurrentReplicas != 2 || st.DesiredReplicas != 3 || *st.ObservedGeneration != 2 {
		t.Errorf("status is %+v", st)
	}
	c := st.CurrentMetrics[0].Resource.Current
	if *c.AverageUtilization != 70 || c.AverageValue.String() != "700m" {
		t.Errorf("cpu is %+v", c)
	}
	if e := st.CurrentMetrics[1].External.Current; e.AverageValue.String() != "4500m" || e.Value != nil {
		t.Errorf("the external metric is %+v", e)
	}
	if a.why != "cpu resource utilization (percentage of request) above target" {
		t.Errorf("the reason is %q", a.why)
	}
}

// Whatever the load, a target follows within its bounds and no faster than it may.
func TestHistory(t *testing.T) {
	h := history{}
	at, size := now, int32(1)
	s := scaler([]autoscalingv2.MetricSpec{external("1")}, bounds(1, 100))
	var sizes []int32
	for step := range 60 {
		load := int64(100)
		if step >= 10 {
			load = 3
		}
		o := look(s, size, "", total(load))
		o.history = h
		a := plan(o, at)
		h = h.with(a.recommended, size, a.replicas, at)
		size = a.replicas
		if len(sizes) == 0 || sizes[len(sizes)-1] != size {
			sizes = append(sizes, size)
		}
		at = at.Add(period)
	}
	if got := fmt.Sprint(sizes); got != "[5 10 20 40 80 100 3]" {
		t.Errorf("sizes are %s", got)
	}
}
