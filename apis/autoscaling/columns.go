package autoscaling

import (
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apiresource "k8s.io/apimachinery/pkg/api/resource"

	"coracle.dev/coracle/apis/resource"
)

type hpa = *autoscalingv2.HorizontalPodAutoscaler

var autoscalerColumns = []resource.Column[hpa]{
	resource.Name[hpa](),
	resource.Text("Reference", func(a hpa) any { return a.Spec.ScaleTargetRef.Kind + "/" + a.Spec.ScaleTargetRef.Name }),
	resource.Text("Targets", func(a hpa) any { return targets(a) }),
	resource.Text("MinPods", func(a hpa) any {
		if a.Spec.MinReplicas == nil {
			return resource.Unset
		}
		return fmt.Sprint(*a.Spec.MinReplicas)
	}),
	resource.Number("MaxPods", func(a hpa) int32 { return a.Spec.MaxReplicas }),
	resource.Number("Replicas", func(a hpa) int32 { return a.Status.CurrentReplicas }),
	resource.Age[hpa](),
}

// targets pairs each metric with its current value; the controller reports them in the same order.
func targets(a hpa) string {
	var out []string
	for i := range a.Spec.Metrics {
		var now autoscalingv2.MetricStatus
		if i < len(a.Status.CurrentMetrics) {
			now = a.Status.CurrentMetrics[i]
		}
		out = append(out, target(&a.Spec.Metrics[i], &now))
	}
	return resource.OrNone(resource.Shorten(out, 2, ", "))
}

func target(m *autoscalingv2.MetricSpec, now *autoscalingv2.MetricStatus) string {
	var current autoscalingv2.MetricValueStatus
	switch {
	case m.External != nil:
		if now.External != nil {
			current = now.External.Current
		}
		return valueTarget(m.External.Target, current)
	case m.Object != nil:
		if now.Object != nil {
			current = now.Object.Current
		}
		return valueTarget(m.Object.Target, current)
	case m.Pods != nil:
		if now.Pods != nil {
			current = now.Pods.Current
		}
		return text(current.AverageValue) + "/" + text(m.Pods.Target.AverageValue)
	case m.Resource != nil:
		if now.Resource != nil {
			current = now.Resource.Current
		}
		return string(m.Resource.Name) + ": " + shareTarget(m.Resource.Target, current)
	case m.ContainerResource != nil:
		if now.ContainerResource != nil {
			current = now.ContainerResource.Current
		}
		return string(m.ContainerResource.Name) + ": " + shareTarget(m.ContainerResource.Target, current)
	}
	return "<unknown type>"
}

func valueTarget(t autoscalingv2.MetricTarget, now autoscalingv2.MetricValueStatus) string {
	if t.AverageValue != nil {
		return text(now.AverageValue) + "/" + text(t.AverageValue) + " (avg)"
	}
	return text(now.Value) + "/" + text(t.Value)
}

func shareTarget(t autoscalingv2.MetricTarget, now autoscalingv2.MetricValueStatus) string {
	if t.AverageValue != nil {
		return text(now.AverageValue) + "/" + text(t.AverageValue)
	}
	return percent(now.AverageUtilization, resource.Unknown) + "/" + percent(t.AverageUtilization, "<auto>")
}

func text(q *apiresource.Quantity) string {
	if q == nil {
		return resource.Unknown
	}
	return q.String()
}

func percent(p *int32, absent string) string {
	if p == nil {
		return absent
	}
	return fmt.Sprintf("%d%%", *p)
}
