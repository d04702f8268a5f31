package horizontalpodautoscaler

import (
	"math"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// history is what was recommended and done of late. A pass makes a new one.
type history struct {
	recommended []past
	// ups and downs are by how much the target was scaled.
	ups, downs []past
}

type past struct {
	n  int32
	at time.Time
}

// longestPeriod is the longest that a policy or a window may look back.
const longestPeriod = time.Hour

// rules are how fast the target may be scaled; those not given are the defaults.
func rules(b *autoscalingv2.HorizontalPodAutoscalerBehavior) (up, down autoscalingv2.HPAScalingRules) {
	if b != nil && b.ScaleUp != nil {
		up = *b.ScaleUp
	}
	if b != nil && b.ScaleDown != nil {
		down = *b.ScaleDown
	}
	double := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}
	if up.Policies == nil {
		up.Policies = []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15}, double}
	}
	if down.Policies == nil {
		down.Policies = []autoscalingv2.HPAScalingPolicy{double}
	}
	if up.StabilizationWindowSeconds == nil {
		up.StabilizationWindowSeconds = new(int32(0))
	}
	if down.StabilizationWindowSeconds == nil {
		down.StabilizationWindowSeconds = new(int32(300))
	}
	return up, down
}

func toleranceOf(up, down autoscalingv2.HPAScalingRules) tolerance {
	t := tolerance{defaultTolerance, defaultTolerance}
	if up.Tolerance != nil {
		t.up = up.Tolerance.AsApproximateFloat64()
	}
	if down.Tolerance != nil {
		t.down = down.Tolerance.AsApproximateFloat64()
	}
	return t
}

// stabilize holds a recommendation back by those before it: up to the lowest,
// down to the highest within the windows.
func (h history) stabilize(current, desired int32, up, down autoscalingv2.HPAScalingRules, now time.Time) int32 {
	lowest, highest := desired, desired
	for _, r := range h.recommended {
		if r.at.After(now.Add(-seconds(*up.StabilizationWindowSeconds))) {
			lowest = min(lowest, r.n)
		}
		if r.at.After(now.Add(-seconds(*down.StabilizationWindowSeconds))) {
			highest = max(highest, r.n)
		}
	}
	return min(max(current, lowest), highest)
}

// upLimit and downLimit are how far the policies let the target be scaled now.
func (h history) upLimit(current int32, r autoscalingv2.HPAScalingRules, now time.Time) int32 {
	return h.limit(current, r, now, func(base int32, p autoscalingv2.HPAScalingPolicy) int32 {
		if p.Type == autoscalingv2.PodsScalingPolicy {
			return int32(min(int64(base)+int64(p.Value), math.MaxInt32))
		}
		return ceil(float64(base) * (1 + float64(p.Value)/100))
	}, false)
}

func (h history) downLimit(current int32, r autoscalingv2.HPAScalingRules, now time.Time) int32 {
	return h.limit(current, r, now, func(base int32, p autoscalingv2.HPAScalingPolicy) int32 {
		if p.Type == autoscalingv2.PodsScalingPolicy {
			return base - p.Value
		}
		return int32(float64(base) * (1 - float64(p.Value)/100))
	}, true)
}

// limit picks among what the policies allow, each from where the target was at
// the beginning of its period.
func (h history) limit(current int32, r autoscalingv2.HPAScalingRules, now time.Time, allow func(int32, autoscalingv2.HPAScalingPolicy) int32, down bool) int32 {
	selection := autoscalingv2.MaxChangePolicySelect
	if r.SelectPolicy != nil {
		selection = *r.SelectPolicy
	}
	if selection == autoscalingv2.DisabledPolicySelect || len(r.Policies) == 0 {
		return current
	}
	var limits []int32
	for _, p := range r.Policies {
		since := now.Add(-seconds(p.PeriodSeconds))
		limits = append(limits, allow(current-sum(h.ups, since)+sum(h.downs, since), p))
	}
	if (selection == autoscalingv2.MaxChangePolicySelect) == down {
		return slices.Min(limits)
	}
	return slices.Max(limits)
}

func sum(all []past, since time.Time) int32 {
	n := int32(0)
	for _, p := range all {
		if p.at.After(since) {
			n += p.n
		}
	}
	return n
}

// with is the history with a recommendation and a change of scale added, and
// without what is too old to matter.
func (h history) with(recommended, from, to int32, now time.Time) history {
	next := history{recommended: append(recent(h.recommended, now), past{recommended, now}), ups: recent(h.ups, now), downs: recent(h.downs, now)}
	switch {
	case to > from:
		next.ups = append(next.ups, past{to - from, now})
	case to < from:
		next.downs = append(next.downs, past{from - to, now})
	}
	return next
}

func recent(all []past, now time.Time) []past {
	var kept []past
	for _, p := range all {
		if p.at.After(now.Add(-longestPeriod)) {
			kept = append(kept, p)
		}
	}
	return kept
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }
