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

// source is one of the places that a metric may come from.
type source struct {
	kind  autoscalingv2.MetricSourceType
	child string
	set   bool
	check func(*field.Path) field.ErrorList
}

func sources(m *autoscalingv2.MetricSpec) []source {
	return []source{
		{autoscalingv2.ObjectMetricSourceType, "object", m.Object != nil, func(at *field.Path) field.ErrorList { return checkObject(at, m.Object) }},
		{autoscalingv2.ExternalMetricSourceType, "external", m.External != nil, func(at *field.Path) field.ErrorList { return checkExternal(at, m.External) }},
		{autoscalingv2.PodsMetricSourceType, "pods", m.Pods != nil, func(at *field.Path) field.ErrorList { return checkPods(at, m.Pods) }},
		{autoscalingv2.ResourceMetricSourceType, "resource", m.Resource != nil, func(at *field.Path) field.ErrorList {
			return checkUsage(at, string(m.Resource.Name), &m.Resource.Target)
		}},
		{autoscalingv2.ContainerResourceMetricSourceType, "containerResource", m.ContainerResource != nil, func(at *field.Path) field.ErrorList {
			errs := checkUsage(at, string(m.ContainerResource.Name), &m.ContainerResource.Target)
			if m.ContainerResource.Container == "" {
				errs = append(errs, field.Required(at.Child("container"), "must specify a container"))
			}
			return errs
		}},
	}
}

// checkMetric: a metric has the one source that its type names.
func checkMetric(at *field.Path, m *autoscalingv2.MetricSpec) field.ErrorList {
	var errs field.ErrorList
	if m.Type == "" {
		errs = append(errs, field.Required(at.Child("type"), "must specify a metric source type"))
	} else {
		errs = append(errs, resource.Supported(at.Child("type"), m.Type, autoscalingv2.ContainerResourceMetricSourceType, autoscalingv2.ExternalMetricSourceType,
			autoscalingv2.ObjectMetricSourceType, autoscalingv2.PodsMetricSourceType, autoscalingv2.ResourceMetricSourceType)...)
	}
	for _, s := range sources(m) {
		switch {
		case s.kind == m.Type && !s.set:
			errs = append(errs, field.Required(at.Child(s.child), "must populate information for the given metric source"))
		case s.kind != m.Type && s.set:
			errs = append(errs, field.Forbidden(at.Child(s.child), "must populate the given metric source only"))
		case s.set:
			errs = append(errs, s.check(at.Child(s.child))...)
		}
	}
	return errs
}

func checkIdentifier(at *field.Path, m *autoscalingv2.MetricIdentifier) field.ErrorList {
	if m.Name == "" {
		return field.ErrorList{field.Required(at.Child("name"), "must specify a metric name")}
	}
	return resource.Messages(at.Child("name"), m.Name, resource.PathSegmentName(m.Name, false))
}

const (
	rawOrPerPod   = "must set either a target value for metric or a per-pod target"
	rawOrShare    = "must set either a target raw value or a target utilization"
	notRawOrShare = "may not set both a target raw value and a target utilization"
)

func checkObject(at *field.Path, s *autoscalingv2.ObjectMetricSource) field.ErrorList {
	errs := checkReference(at.Child("describedObject"), s.DescribedObject.Kind, s.DescribedObject.Name)
	errs = append(errs, checkIdentifier(at.Child("metric"), &s.Metric)...)
	errs = append(errs, checkTarget(at.Child("target"), &s.Target)...)
	if s.Target.Value == nil && s.Target.AverageValue == nil {
		errs = append(errs, field.Required(at.Child("target", "averageValue"), rawOrPerPod))
	}
	return errs
}

func checkExternal(at *field.Path, s *autoscalingv2.ExternalMetricSource) field.ErrorList {
	errs := checkIdentifier(at.Child("metric"), &s.Metric)
	errs = append(errs, checkTarget(at.Child("target"), &s.Target)...)
	switch {
	case s.Target.Value == nil && s.Target.AverageValue == nil:
		errs = append(errs, field.Required(at.Child("target", "averageValue"), rawOrPerPod))
	case s.Target.Value != nil && s.Target.AverageValue != nil:
		errs = append(errs, field.Forbidden(at.Child("target", "value"), "may not set both a target value for metric and a per-pod target"))
	}
	return errs
}

func checkPods(at *field.Path, s *autoscalingv2.PodsMetricSource) field.ErrorList {
	errs := checkIdentifier(at.Child("metric"), &s.Metric)
	errs = append(errs, checkTarget(at.Child("target"), &s.Target)...)
	if s.Target.AverageValue == nil || s.Target.AverageValue.Sign() != 1 {
		errs = append(errs, field.Required(at.Child("target", "averageValue"), "must specify a positive target averageValue"))
	}
	return errs
}

// checkUsage checks a metric of what pods or containers use of a resource.
func checkUsage(at *field.Path, name string, t *autoscalingv2.MetricTarget) field.ErrorList {
	var errs field.ErrorList
	if name == "" {
		errs = append(errs, field.Required(at.Child("name"), "must specify a resource name"))
	}
	errs = append(errs, checkTarget(at.Child("target"), t)...)
	switch {
	case t.AverageUtilization == nil && t.AverageValue == nil:
		errs = append(errs, field.Required(at.Child("target", "averageUtilization"), rawOrShare))
	case t.AverageUtilization != nil && t.AverageValue != nil:
		errs = append(errs, field.Forbidden(at.Child("target", "averageValue"), notRawOrShare))
	}
	return errs
}

func checkTarget(at *field.Path, t *autoscalingv2.MetricTarget) field.ErrorList {
	var errs field.ErrorList
	switch t.Type {
	case "":
		errs = append(errs, field.Required(at.Child("type"), "must specify a metric target type"))
	case autoscalingv2.UtilizationMetricType, autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType:
	default:
		errs = append(errs, field.Invalid(at.Child("type"), t.Type, "must be either Utilization, Value, or AverageValue"))
	}
	if t.Value != nil && t.Value.Sign() != 1 {
		errs = append(errs, field.Invalid(at.Child("value"), t.Value, "must be positive"))
	}
	if t.AverageValue != nil && t.AverageValue.Sign() != 1 {
		errs = append(errs, field.Invalid(at.Child("averageValue"), t.AverageValue, "must be positive"))
	}
	if t.AverageUtilization != nil && *t.AverageUtilization < 1 {
		errs = append(errs, field.Invalid(at.Child("averageUtilization"), *t.AverageUtilization, "must be greater than 0"))
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
