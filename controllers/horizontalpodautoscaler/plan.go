package horizontalpodautoscaler

import (
	"errors"
	"fmt"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// observed is what a pass knows. Nothing of it is changed.
type observed struct {
	hpa   *autoscalingv2.HorizontalPodAutoscaler
	scale *autoscalingv1.Scale
	pods  []*corev1.Pod
	// readings are of the metrics of the spec, in their order.
	readings []reading
	// trouble is why the pods cannot be told, and reason its name.
	reason  string
	trouble error
	history history
}

// reading is what there is of a metric: samples of pods, or a total in
// thousandths.
type reading struct {
	samples map[string]sample
	total   int64
	err     error
}

// actions are what a pass does.
type actions struct {
	// rescale tells that the target is to have replicas from now on, and why.
	rescale  bool
	replicas int32
	why      string
	status   autoscalingv2.HorizontalPodAutoscalerStatus
	events   []notice
	// recommended is what the metrics ask for, for the history to come.
	recommended int32
	failure     error
}

// notice is a warning to be told.
type notice struct{ reason, message string }

type pass struct {
	observed
	now      time.Time
	up, down autoscalingv2.HPAScalingRules
	least    int32
	current  int32
	out      actions
}

// plan decides how large the target of an autoscaler is to be.
func plan(o observed, now time.Time) actions {
	p := &pass{observed: o, now: now, least: 1, current: o.scale.Spec.Replicas}
	p.up, p.down = rules(o.hpa.Spec.Behavior)
	if o.hpa.Spec.MinReplicas != nil {
		p.least = *o.hpa.Spec.MinReplicas
	}
	p.out.status = *o.hpa.Status.DeepCopy()
	p.out.status.ObservedGeneration = &o.hpa.Generation
	p.out.status.CurrentReplicas = p.current
	p.out.status.CurrentMetrics = nil
	p.condition(autoscalingv2.AbleToScale, true, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
	p.decide()
	p.out.rescale = p.out.failure == nil && p.out.replicas != p.current
	if p.out.failure == nil {
		p.out.status.DesiredReplicas = p.out.replicas
	}
	return p.out
}

func (p *pass) decide() {
	p.out.replicas, p.out.recommended = p.current, p.current
	most := p.hpa.Spec.MaxReplicas
	switch {
	case p.current == 0 && p.least != 0:
		p.condition(autoscalingv2.ScalingActive, false, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
	case p.current > most:
		p.out.replicas, p.out.why = most, "Current number of replicas above Spec.MaxReplicas"
	case p.current < p.least:
		p.out.replicas, p.out.why = p.least, "Current number of replicas below Spec.MinReplicas"
	default:
		p.byMetrics()
	}
}

// byMetrics follows the metric that asks for most.
func (p *pass) byMetrics() {
	if p.trouble != nil {
		p.condition(autoscalingv2.ScalingActive, false, p.reason, "%s", p.trouble.Error())
		p.out.events = append(p.out.events, notice{p.reason, p.trouble.Error()})
		p.fail(p.trouble)
		return
	}
	desired, name, failed := int32(0), "", 0
	var first error
	for i, spec := range p.hpa.Spec.Metrics {
		c, err := p.count(spec, p.readings[i])
		if err != nil {
			if failed++; first == nil {
				first = err
			}
			continue
		}
		p.out.status.CurrentMetrics = append(p.out.status.CurrentMetrics, metricStatus(spec, c))
		if name == "" || c.replicas > desired {
			desired, name = c.replicas, metricName(spec)
		}
	}
	// What is not known might ask for more: no smaller for it.
	if failed == len(p.hpa.Spec.Metrics) || failed > 0 && desired < p.current {
		var reading *readingError
		if errors.As(first, &reading) {
			p.condition(autoscalingv2.ScalingActive, false, reading.reason, "the HPA was unable to compute the replica count: %v", first)
			p.out.events = append(p.out.events, notice{reading.reason, first.Error()})
		}
		err := fmt.Errorf("invalid metrics (%d invalid out of %d), first error is: %w", failed, len(p.hpa.Spec.Metrics), first)
		p.out.events = append(p.out.events, notice{"FailedComputeMetricsReplicas", err.Error()})
		p.fail(err)
		return
	}
	p.condition(autoscalingv2.ScalingActive, true, "ValidMetricFound", "the HPA was able to successfully calculate a replica count from %s", name)
	switch {
	case desired > p.current:
		p.out.why = name + " above target"
	case desired < p.current:
		p.out.why = "All metrics below target"
	}
	p.out.recommended = desired
	p.out.replicas = p.limited(p.stabilized(desired))
}

func (p *pass) fail(err error) { p.out.failure = err }

func (p *pass) stabilized(desired int32) int32 {
	n := p.history.stabilize(p.current, desired, p.up, p.down, p.now)
	switch {
	case n < desired:
		p.condition(autoscalingv2.AbleToScale, true, "ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest recent recommendation")
	case n > desired:
		p.condition(autoscalingv2.AbleToScale, true, "ScaleDownStabilized", "recent recommendations were higher than current one, applying the highest recent recommendation")
	default:
		p.condition(autoscalingv2.AbleToScale, true, "ReadyForNewScale", "recommended size matches current size")
	}
	return n
}

// limited keeps within the bounds of the spec, and the pace of the policies.
func (p *pass) limited(desired int32) int32 {
	least, most := p.least, p.hpa.Spec.MaxReplicas
	switch {
	case desired > p.current:
		pace := max(p.current, p.history.upLimit(p.current, p.up, p.now))
		if desired > min(most, pace) {
			if pace < most {
				p.limitedBy("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
				return pace
			}
			p.limitedBy("TooManyReplicas", "the desired replica count is more than the maximum replica count")
			return most
		}
	case desired < p.current:
		pace := min(p.current, p.history.downLimit(p.current, p.down, p.now))
		if desired < max(least, pace) {
			if pace > least {
				p.limitedBy("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
				return pace
			}
			p.limitedBy("TooFewReplicas", "the desired replica count is less than the minimum replica count")
			return least
		}
	}
	p.condition(autoscalingv2.ScalingLimited, false, "DesiredWithinRange", "the desired count is within the acceptable range")
	return desired
}

func (p *pass) limitedBy(reason, message string) {
	p.condition(autoscalingv2.ScalingLimited, true, reason, "%s", message)
}

func (p *pass) condition(t autoscalingv2.HorizontalPodAutoscalerConditionType, yes bool, reason, format string, args ...any) {
	setCondition(&p.out.status, t, yes, reason, fmt.Sprintf(format, args...), p.now)
}

// setCondition sets a condition; its time is that of its last change of status.
func setCondition(st *autoscalingv2.HorizontalPodAutoscalerStatus, t autoscalingv2.HorizontalPodAutoscalerConditionType, yes bool, reason, message string, now time.Time) {
	status := corev1.ConditionFalse
	if yes {
		status = corev1.ConditionTrue
	}
	var c *autoscalingv2.HorizontalPodAutoscalerCondition
	for i := range st.Conditions {
		if st.Conditions[i].Type == t {
			c = &st.Conditions[i]
		}
	}
	if c == nil {
		st.Conditions = append(st.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{Type: t})
		c = &st.Conditions[len(st.Conditions)-1]
	}
	if c.Status != status {
		c.LastTransitionTime = metav1.NewTime(now)
	}
	c.Status, c.Reason, c.Message = status, reason, message
}
