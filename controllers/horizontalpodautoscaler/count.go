package horizontalpodautoscaler

import (
	"errors"
	"fmt"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/controllers/internal/podstatus"
)

const (
	// defaultTolerance is how far from its target a metric may be.
	defaultTolerance = 0.1
	// startup is for how long after its start a pod's CPU usage says little.
	startup = 5 * time.Minute
	// firstReady is within what time of its start a pod that is not ready has
	// never been.
	firstReady = 30 * time.Second
)

// sample is what a pod used, in thousandths, over the window before a time.
type sample struct {
	value  int64
	at     time.Time
	window time.Duration
}

// tolerance is how far below and above one a ratio counts as one.
type tolerance struct{ down, up float64 }

func (t tolerance) covers(ratio float64) bool { return 1-t.down <= ratio && ratio <= 1+t.up }

// groups are a target's pods by what their metrics are worth.
type groups struct {
	ready            int
	unready, missing []*corev1.Pod
	// counted are the samples of pods that are ready.
	counted map[string]sample
}

// group sorts pods. Those that are being deleted or failed are left out. For
// CPU, a pod that has not been ready, or was measured before it was, counts as
// not ready: what it uses to start tells nothing of its load.
func group(pods []*corev1.Pod, samples map[string]sample, resource corev1.ResourceName, now time.Time) groups {
	g := groups{counted: map[string]sample{}}
	for _, p := range pods {
		if p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodFailed {
			continue
		}
		s, found := samples[p.Name]
		switch {
		case p.Status.Phase == corev1.PodPending:
			g.unready = append(g.unready, p)
		case !found:
			g.missing = append(g.missing, p)
		case resource == corev1.ResourceCPU && starting(p, s, now):
			g.unready = append(g.unready, p)
		default:
			g.ready++
			g.counted[p.Name] = s
		}
	}
	return g
}

func starting(p *corev1.Pod, s sample, now time.Time) bool {
	c := podstatus.Condition(p, corev1.PodReady)
	if c == nil || p.Status.StartTime == nil {
		return true
	}
	if p.Status.StartTime.Add(startup).After(now) {
		return c.Status == corev1.ConditionFalse || s.at.Before(c.LastTransitionTime.Add(s.window))
	}
	return c.Status == corev1.ConditionFalse && p.Status.StartTime.Add(firstReady).After(c.LastTransitionTime.Time)
}

// goal is a target of a metric of pods: an amount for each, in thousandths, or
// a percentage of what each requests.
type goal struct {
	amount   int64
	percent  int64
	requests map[string]int64
}

// ratio is usage by target, and what is shown of it: the percentage used (of a
// goal in percent), and the amount for each pod.
func (g goal) ratio(samples map[string]sample) (ratio float64, percent int32, each int64, err error) {
	var used, requested int64
	n := int64(0)
	for pod, s := range samples {
		if g.requests != nil {
			r, ok := g.requests[pod]
			if !ok {
				continue
			}
			requested += r
		}
		used += s.value
		n++
	}
	switch {
	case n == 0:
		return 0, 0, 0, errors.New("no metrics returned matched known pods")
	case g.requests == nil:
		return float64(used) / float64(n) / float64(g.amount), 0, used / n, nil
	case requested == 0:
		return 0, 0, 0, errors.New("no metrics returned matched known pods")
	}
	percent = int32(used * 100 / requested)
	return float64(percent) / float64(g.percent), percent, used / n, nil
}

// assumed is what a pod without a metric is taken to use when the others say
// that the target could be smaller: just its share, or all that it requests.
func (g goal) assumed(pod string) int64 {
	if g.requests == nil {
		return g.amount
	}
	return g.requests[pod] * max(100, g.percent) / 100
}

// count is a number of replicas that a metric asks for, and what is shown of
// the metric.
type count struct {
	replicas int32
	percent  int32
	each     int64 // for each pod, in thousandths
	total    int64 // in thousandths
}

// perPod counts the replicas that it takes for a metric of pods to meet its goal.
func perPod(current int32, pods []*corev1.Pod, samples map[string]sample, g goal, resource corev1.ResourceName, t tolerance, now time.Time) (count, error) {
	if len(pods) == 0 {
		return count{}, errors.New("no pods returned by selector while calculating replica count")
	}
	in := group(pods, samples, resource, now)
	if len(in.counted) == 0 {
		return count{}, errors.New("did not receive metrics for targeted pods (pods might be unready)")
	}
	ratio, percent, each, err := g.ratio(in.counted)
	if err != nil {
		return count{}, err
	}
	c := count{replicas: current, percent: percent, each: each}
	withUnready := len(in.unready) > 0 && ratio > 1
	if !withUnready && len(in.missing) == 0 {
		if !t.covers(ratio) {
			c.replicas = ceil(ratio * float64(in.ready))
		}
		return c, nil
	}
	// What is not known is taken to be such that the target changes less.
	for _, p := range in.missing {
		value := int64(0)
		if ratio < 1 {
			value = g.assumed(p.Name)
		}
		in.counted[p.Name] = sample{value: value}
	}
	if withUnready {
		for _, p := range in.unready {
			in.counted[p.Name] = sample{}
		}
	}
	careful, _, _, err := g.ratio(in.counted)
	if err != nil {
		return count{}, err
	}
	if t.covers(careful) || (ratio < 1) != (careful < 1) {
		return c, nil
	}
	n := ceil(careful * float64(len(in.counted)))
	if careful < 1 && n > current || careful > 1 && n < current {
		return c, nil
	}
	c.replicas = n
	return c, nil
}

// byTotal counts the replicas that it takes for a metric of something else to
// meet a target value: in proportion to the pods that are ready.
func byTotal(current int32, pods []*corev1.Pod, total, target int64, t tolerance) count {
	ratio := float64(total) / float64(target)
	c := count{replicas: current, total: total}
	switch {
	case current == 0:
		c.replicas = ceil(ratio)
	case !t.covers(ratio):
		ready := 0
		for _, p := range pods {
			if p.Status.Phase == corev1.PodRunning && podstatus.Ready(p) {
				ready++
			}
		}
		c.replicas = ceil(ratio * float64(ready))
	}
	return c
}

// byShare counts the replicas that it takes for each to have no more of a total
// than the target.
func byShare(current, running int32, total, target int64, t tolerance) count {
	c := count{replicas: current, total: total}
	if running == 0 || !t.covers(float64(total)/(float64(target)*float64(running))) {
		c.replicas = ceil(float64(total) / float64(target))
	}
	if running > 0 {
		c.each = int64(math.Ceil(float64(total) / float64(running)))
	}
	return c
}

func ceil(f float64) int32 { return int32(min(math.Ceil(f), math.MaxInt32)) }

// requestsOf are what pods request of a resource, in all or for one container,
// in thousandths. A pod that does not say makes a share of its request unknown.
func requestsOf(pods []*corev1.Pod, resource corev1.ResourceName, container string) (map[string]int64, error) {
	requests := map[string]int64{}
	for _, p := range pods {
		if container == "" && p.Spec.Resources != nil {
			if q, ok := p.Spec.Resources.Requests[resource]; ok {
				requests[p.Name] = q.MilliValue()
				continue
			}
		}
		sum := int64(0)
		for _, c := range longRunning(p) {
			if container != "" && c.Name != container {
				continue
			}
			q, ok := c.Resources.Requests[resource]
			if !ok {
				return nil, fmt.Errorf("missing request for %s in container %s of Pod %s", resource, c.Name, p.Name)
			}
			sum += q.MilliValue()
		}
		requests[p.Name] = sum
	}
	return requests, nil
}

// longRunning are a pod's containers, sidecars among them.
func longRunning(p *corev1.Pod) []corev1.Container {
	all := p.Spec.Containers[:len(p.Spec.Containers):len(p.Spec.Containers)]
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			all = append(all, c)
		}
	}
	return all
}
