package autoscaling

import (
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

func validateAutoscaler(a hpa) field.ErrorList {
	at, s := field.NewPath("spec"), &a.Spec
	var errs field.ErrorList
	if s.MinReplicas != nil && *s.MinReplicas < 1 {
		errs = append(errs, field.Invalid(at.Child("minReplicas"), *s.MinReplicas, "must be greater than or equal to 1"))
	}
	if s.MaxReplicas < 1 {
		errs = append(errs, field.Invalid(at.Child("maxReplicas"), s.MaxReplicas, "must be greater than 0"))
	}
	if s.MinReplicas != nil && s.MaxReplicas < *s.MinReplicas {
		errs = append(errs, field.Invalid(at.Child("maxReplicas"), s.MaxReplicas, "must be greater than or equal to `minReplicas`"))
	}
	errs = append(errs, checkReference(at.Child("scaleTargetRef"), s.ScaleTargetRef.Kind, s.ScaleTargetRef.Name)...)
	errs = append(errs, resource.Each(at.Child("metrics"), s.Metrics, checkMetric)...)
	if b := s.Behavior; b != nil {
		errs = append(errs, checkRules(at.Child("behavior", "scaleUp"), b.ScaleUp)...)
		errs = append(errs, checkRules(at.Child("behavior", "scaleDown"), b.ScaleDown)...)
	}
	return errs
}

func validateAutoscalerUpdate(a, _ hpa) field.ErrorList { return validateAutoscaler(a) }

func validateAutoscalerStatus(a, _ hpa) field.ErrorList {
	at := field.NewPath("status")
	errs := resource.NotNegative(at.Child("currentReplicas"), a.Status.CurrentReplicas)
	return append(errs, resource.NotNegative(at.Child("desiredReplicas"), a.Status.DesiredReplicas)...)
}

func checkReference(at *field.Path, kind, name string) field.ErrorList {
	var errs field.ErrorList
	for _, f := range []struct{ name, value string }{{"kind", kind}, {"name", name}} {
		if f.value == "" {
			errs = append(errs, field.Required(at.Child(f.name), ""))
		} else {
			errs = append(errs, resource.Messages(at.Child(f.name), f.value, resource.PathSegmentName(f.value, false))...)
		}
	}
	return errs
}

// checkMetric: a metric has the one source that its type names.
func checkMetric(at *field.Path, m *autoscalingv2.MetricSpec) field.ErrorList {
	errs := resource.OneOf(at.Child("type"), m.Type, autoscalingv2.ContainerResourceMetricSourceType, autoscalingv2.ExternalMetricSourceType,
		autoscalingv2.ObjectMetricSourceType, autoscalingv2.PodsMetricSourceType, autoscalingv2.ResourceMetricSourceType)
	type source struct {
		kind   autoscalingv2.MetricSourceType
		child  string
		set    bool
		target *autoscalingv2.MetricTarget
		named  string
	}
	var sources []source
	add := func(kind autoscalingv2.MetricSourceType, child string, set bool, fill func() (*autoscalingv2.MetricTarget, string)) {
		s := source{kind: kind, child: child, set: set}
		if set {
			s.target, s.named = fill()
		}
		sources = append(sources, s)
	}
	add(autoscalingv2.ObjectMetricSourceType, "object", m.Object != nil, func() (*autoscalingv2.MetricTarget, string) { return &m.Object.Target, m.Object.Metric.Name })
	add(autoscalingv2.ExternalMetricSourceType, "external", m.External != nil, func() (*autoscalingv2.MetricTarget, string) { return &m.External.Target, m.External.Metric.Name })
	add(autoscalingv2.PodsMetricSourceType, "pods", m.Pods != nil, func() (*autoscalingv2.MetricTarget, string) { return &m.Pods.Target, m.Pods.Metric.Name })
	add(autoscalingv2.ResourceMetricSourceType, "resource", m.Resource != nil, func() (*autoscalingv2.MetricTarget, string) { return &m.Resource.Target, string(m.Resource.Name) })
	add(autoscalingv2.ContainerResourceMetricSourceType, "containerResource", m.ContainerResource != nil, func() (*autoscalingv2.MetricTarget, string) {
		return &m.ContainerResource.Target, string(m.ContainerResource.Name)
	})
	for _, s := range sources {
		switch {
		case s.kind == m.Type && !s.set:
			errs = append(errs, field.Required(at.Child(s.child), "must populate information for the given metric source"))
		case s.kind != m.Type && s.set:
			errs = append(errs, field.Forbidden(at.Child(s.child), "must populate the given metric source only"))
		case s.set:
			if s.named == "" {
				errs = append(errs, field.Required(at.Child(s.child, "name"), "must specify a metric name"))
			}
			errs = append(errs, checkTarget(at.Child(s.child, "target"), s.target)...)
		}
	}
	return errs
}

func checkTarget(at *field.Path, t *autoscalingv2.MetricTarget) field.ErrorList {
	errs := resource.OneOf(at.Child("type"), t.Type, autoscalingv2.UtilizationMetricType, autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType)
	if t.Value != nil && t.Value.Sign() != 1 {
		errs = append(errs, field.Invalid(at.Child("value"), t.Value, "must be positive"))
	}
	if t.AverageValue != nil && t.AverageValue.Sign() != 1 {
		errs = append(errs, field.Invalid(at.Child("averageValue"), t.AverageValue, "must be positive"))
	}
	if t.AverageUtilization != nil && *t.AverageUtilization < 1 {
		errs = append(errs, field.Invalid(at.Child("averageUtilization"), *t.AverageUtilization, "must be greater than 0"))
	}
	if t.Value == nil && t.AverageValue == nil && t.AverageUtilization == nil {
		errs = append(errs, field.Required(at.Child("averageUtilization"), "must set either a target raw value or a target utilization"))
	}
	return errs
}

const (
	maxWindow = 3600
	maxPeriod = 1800
)

func checkRules(at *field.Path, r *autoscalingv2.HPAScalingRules) field.ErrorList {
	if r == nil {
		return nil
	}
	errs := resource.NotNegativePointer(at.Child("stabilizationWindowSeconds"), r.StabilizationWindowSeconds)
	if w := r.StabilizationWindowSeconds; w != nil && *w > maxWindow {
		errs = append(errs, field.Invalid(at.Child("stabilizationWindowSeconds"), *w, fmt.Sprintf("must be less than or equal to %v", maxWindow)))
	}
	if p := r.SelectPolicy; p != nil {
		errs = append(errs, resource.Supported(at.Child("selectPolicy"), *p, autoscalingv2.DisabledPolicySelect, autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect)...)
	}
	if len(r.Policies) == 0 {
		errs = append(errs, field.Required(at.Child("policies"), "must specify at least one Policy"))
	}
	return append(errs, resource.Each(at.Child("policies"), r.Policies, func(at *field.Path, p *autoscalingv2.HPAScalingPolicy) field.ErrorList {
		errs := resource.Supported(at.Child("type"), p.Type, autoscalingv2.PercentScalingPolicy, autoscalingv2.PodsScalingPolicy)
		if p.Value <= 0 {
			errs = append(errs, field.Invalid(at.Child("value"), p.Value, "must be greater than zero"))
		}
		if p.PeriodSeconds <= 0 {
			errs = append(errs, field.Invalid(at.Child("periodSeconds"), p.PeriodSeconds, "must be greater than zero"))
		} else if p.PeriodSeconds > maxPeriod {
			errs = append(errs, field.Invalid(at.Child("periodSeconds"), p.PeriodSeconds, fmt.Sprintf("must be less than or equal to %v", maxPeriod)))
		}
		return errs
	})...)
}
