package horizontalpodautoscaler

import (
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// readingError tells that a metric could not be read, or made nothing of.
type readingError struct {
	reason string
	error
}

func (e *readingError) Unwrap() error { return e.error }

// failures are how it is told that a metric of a type cannot be used.
var failures = map[autoscalingv2.MetricSourceType]struct{ reason, what string }{
	autoscalingv2.ObjectMetricSourceType:            {"FailedGetObjectMetric", "failed to get object metric value"},
	autoscalingv2.PodsMetricSourceType:              {"FailedGetPodsMetric", "failed to get pods metric value"},
	autoscalingv2.ResourceMetricSourceType:          {"FailedGetResourceMetric", "failed to get %s utilization"},
	autoscalingv2.ContainerResourceMetricSourceType: {"FailedGetContainerResourceMetric", "failed to get %s utilization"},
	autoscalingv2.ExternalMetricSourceType:          {"FailedGetExternalMetric", "failed to get %s external metric value"},
}

func failed(spec autoscalingv2.MetricSpec, err error) error {
	f := failures[spec.Type]
	what := f.what
	switch spec.Type {
	case autoscalingv2.ResourceMetricSourceType:
		what = fmt.Sprintf(what, spec.Resource.Name)
	case autoscalingv2.ContainerResourceMetricSourceType:
		what = fmt.Sprintf(what, spec.ContainerResource.Name)
	case autoscalingv2.ExternalMetricSourceType:
		what = fmt.Sprintf(what, spec.External.Metric.Name)
	}
	return &readingError{f.reason, fmt.Errorf("%s: %w", what, err)}
}

// count counts the replicas that a metric asks for.
func (p *pass) count(spec autoscalingv2.MetricSpec, r reading) (count, error) {
	if r.err != nil {
		return count{}, failed(spec, r.err)
	}
	c, err := p.countBy(spec, r)
	if err != nil {
		return count{}, failed(spec, err)
	}
	return c, nil
}

func (p *pass) countBy(spec autoscalingv2.MetricSpec, r reading) (count, error) {
	t := toleranceOf(p.up, p.down)
	target := targetOf(spec)
	switch spec.Type {
	case autoscalingv2.ObjectMetricSourceType, autoscalingv2.ExternalMetricSourceType:
		if target.Type == autoscalingv2.AverageValueMetricType || target.Value == nil {
			return byShare(p.current, p.scale.Status.Replicas, r.total, target.AverageValue.MilliValue(), t), nil
		}
		return byTotal(p.current, p.pods, r.total, target.Value.MilliValue(), t), nil
	case autoscalingv2.PodsMetricSourceType:
		return perPod(p.current, p.pods, r.samples, goal{amount: target.AverageValue.MilliValue()}, "", t, p.now)
	}
	name, container := resourceOf(spec)
	if target.AverageValue != nil {
		return perPod(p.current, p.pods, r.samples, goal{amount: target.AverageValue.MilliValue()}, name, t, p.now)
	}
	requests, err := requestsOf(p.pods, name, container)
	if err != nil {
		return count{}, err
	}
	return perPod(p.current, p.pods, r.samples, goal{percent: int64(*target.AverageUtilization), requests: requests}, name, t, p.now)
}

func targetOf(spec autoscalingv2.MetricSpec) autoscalingv2.MetricTarget {
	switch spec.Type {
	case autoscalingv2.ObjectMetricSourceType:
		return spec.Object.Target
	case autoscalingv2.PodsMetricSourceType:
		return spec.Pods.Target
	case autoscalingv2.ContainerResourceMetricSourceType:
		return spec.ContainerResource.Target
	case autoscalingv2.ExternalMetricSourceType:
		return spec.External.Target
	default:
		return spec.Resource.Target
	}
}

// resourceOf is the resource of a metric, and the container if it is of one.
func resourceOf(spec autoscalingv2.MetricSpec) (name corev1.ResourceName, container string) {
	if spec.Type == autoscalingv2.ContainerResourceMetricSourceType {
		return spec.ContainerResource.Name, spec.ContainerResource.Container
	}
	return spec.Resource.Name, ""
}

// metricName is how a metric is called where a change of scale is told.
func metricName(spec autoscalingv2.MetricSpec) string {
	share := ""
	if targetOf(spec).AverageValue == nil {
		share = " utilization (percentage of request)"
	}
	switch spec.Type {
	case autoscalingv2.ObjectMetricSourceType:
		return fmt.Sprintf("%s metric %s", spec.Object.DescribedObject.Kind, spec.Object.Metric.Name)
	case autoscalingv2.PodsMetricSourceType:
		return fmt.Sprintf("pods metric %s", spec.Pods.Metric.Name)
	case autoscalingv2.ExternalMetricSourceType:
		return fmt.Sprintf("external metric %s(%s)", spec.External.Metric.Name, metav1.FormatLabelSelector(spec.External.Metric.Selector))
	case autoscalingv2.ContainerResourceMetricSourceType:
		return fmt.Sprintf("%s container resource%s", spec.ContainerResource.Name, share)
	default:
		return fmt.Sprintf("%s resource%s", spec.Resource.Name, share)
	}
}

// metricStatus is what the status shows of a metric.
func metricStatus(spec autoscalingv2.MetricSpec, c count) autoscalingv2.MetricStatus {
	st := autoscalingv2.MetricStatus{Type: spec.Type}
	total := autoscalingv2.MetricValueStatus{Value: resource.NewMilliQuantity(c.total, resource.DecimalSI)}
	each := autoscalingv2.MetricValueStatus{AverageValue: resource.NewMilliQuantity(c.each, resource.DecimalSI)}
	target := targetOf(spec)
	if target.Value == nil || target.Type == autoscalingv2.AverageValueMetricType {
		total = each
	}
	if target.AverageUtilization != nil && target.AverageValue == nil {
		each.AverageUtilization = &c.percent
	}
	switch spec.Type {
	case autoscalingv2.ObjectMetricSourceType:
		st.Object = &autoscalingv2.ObjectMetricStatus{Metric: spec.Object.Metric, DescribedObject: spec.Object.DescribedObject, Current: total}
	case autoscalingv2.PodsMetricSourceType:
		st.Pods = &autoscalingv2.PodsMetricStatus{Metric: spec.Pods.Metric, Current: each}
	case autoscalingv2.ExternalMetricSourceType:
		st.External = &autoscalingv2.ExternalMetricStatus{Metric: spec.External.Metric, Current: total}
	case autoscalingv2.ContainerResourceMetricSourceType:
		st.ContainerResource = &autoscalingv2.ContainerResourceMetricStatus{Name: spec.ContainerResource.Name, Container: spec.ContainerResource.Container, Current: each}
	default:
		st.Resource = &autoscalingv2.ResourceMetricStatus{Name: spec.Resource.Name, Current: each}
	}
	return st
}
