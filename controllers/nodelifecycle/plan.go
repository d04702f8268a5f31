package nodelifecycle

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons and messages of conditions that the agent does not answer for.
const (
	reasonNeverUpdated  = "NodeStatusNeverUpdated"
	messageNeverUpdated = "Kubelet never posted node status."
	reasonUnknown       = "NodeStatusUnknown"
	messageUnknown      = "Kubelet stopped posting node status."
)

// reported are the conditions that an agent reports.
var reported = []corev1.NodeConditionType{
	corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure,
}

// silenced are the conditions of a node whose agent is silent, and whether they
// differ from those that it has.
func silenced(n *corev1.Node, now metav1.Time) (_ []corev1.NodeCondition, changed bool) {
	out := slices.Clone(n.Status.Conditions)
	for _, t := range reported {
		i := slices.IndexFunc(out, func(c corev1.NodeCondition) bool { return c.Type == t })
		switch {
		case i < 0:
			out, changed = append(out, corev1.NodeCondition{
				Type: t, Status: corev1.ConditionUnknown, Reason: reasonNeverUpdated, Message: messageNeverUpdated,
				LastHeartbeatTime: n.CreationTimestamp, LastTransitionTime: now,
			}), true
		case out[i].Status != corev1.ConditionUnknown:
			out[i].Status, out[i].Reason, out[i].Message = corev1.ConditionUnknown, reasonUnknown, messageUnknown
			out[i].LastTransitionTime = now
			changed = true
		}
	}
	return out, changed
}

// status is the status of a condition, Unknown if the node does not have it.
func status(conditions []corev1.NodeCondition, t corev1.NodeConditionType) corev1.ConditionStatus {
	for _, c := range conditions {
		if c.Type == t {
			return c.Status
		}
	}
	return corev1.ConditionUnknown
}

// badness is a status of a condition that keeps new pods off, by a taint.
type badness struct {
	condition corev1.NodeConditionType
	status    corev1.ConditionStatus
	taint     string
}

var bad = []badness{
	{corev1.NodeReady, corev1.ConditionFalse, corev1.TaintNodeNotReady},
	{corev1.NodeReady, corev1.ConditionUnknown, corev1.TaintNodeUnreachable},
	{corev1.NodeMemoryPressure, corev1.ConditionTrue, corev1.TaintNodeMemoryPressure},
	{corev1.NodeDiskPressure, corev1.ConditionTrue, corev1.TaintNodeDiskPressure},
	{corev1.NodePIDPressure, corev1.ConditionTrue, corev1.TaintNodePIDPressure},
	{corev1.NodeNetworkUnavailable, corev1.ConditionTrue, corev1.TaintNodeNetworkUnavailable},
}

// noSchedule are the taints of that effect that a node should have.
func noSchedule(n *corev1.Node) []string {
	var keys []string
	for _, b := range bad {
		if status(n.Status.Conditions, b.condition) == b.status {
			keys = append(keys, b.taint)
		}
	}
	if n.Spec.Unschedulable {
		keys = append(keys, corev1.TaintNodeUnschedulable)
	}
	return keys
}

// noExecute is the taint of that effect that a node should have, if any.
func noExecute(n *corev1.Node) string {
	switch status(n.Status.Conditions, corev1.NodeReady) {
	case corev1.ConditionFalse:
		return corev1.TaintNodeNotReady
	case corev1.ConditionUnknown:
		return corev1.TaintNodeUnreachable
	default:
		return ""
	}
}

// eviction says what may be done about pods on a node that is not ready.
type eviction int

const (
	evict eviction = iota // give it the taint that does it
	hold                  // leave that as it is for now
	spare                 // take such a taint away: no node is ready
)

// taints are the taints that a node should have, and whether they differ from
// those that it has. Taints of others stay as they are.
func taints(n *corev1.Node, e eviction, now metav1.Time) (_ []corev1.Taint, changed bool) {
	want := map[corev1.Taint]bool{}
	for _, key := range noSchedule(n) {
		want[corev1.Taint{Key: key, Effect: corev1.TaintEffectNoSchedule}] = true
	}
	execute := noExecute(n)
	if execute != "" && (e == evict || e == hold && evicting(n)) {
		want[corev1.Taint{Key: execute, Effect: corev1.TaintEffectNoExecute}] = true
	}
	var out []corev1.Taint
	for _, t := range n.Spec.Taints {
		id := corev1.Taint{Key: t.Key, Effect: t.Effect}
		if owned(t) && !want[id] {
			changed = true
			continue
		}
		delete(want, id)
		out = append(out, t)
	}
	for _, key := range slices.Concat(noSchedule(n), []string{execute}) {
		for _, effect := range []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute} {
			id := corev1.Taint{Key: key, Effect: effect}
			if want[id] {
				delete(want, id)
				out, changed = append(out, corev1.Taint{Key: key, Effect: effect, TimeAdded: &now}), true
			}
		}
	}
	return out, changed
}

// owned tells whether a taint is one that this controller gives and takes.
func owned(t corev1.Taint) bool {
	switch t.Effect {
	case corev1.TaintEffectNoExecute:
		return t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable
	case corev1.TaintEffectNoSchedule:
		return t.Key == corev1.TaintNodeUnschedulable || slices.ContainsFunc(bad, func(b badness) bool { return b.taint == t.Key })
	default:
		return false
	}
}

// evicting tells whether a node has a taint of this controller that evicts.
func evicting(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Effect == corev1.TaintEffectNoExecute && owned(t) })
}

// zoneOf names the zone of a node.
func zoneOf(n *corev1.Node) string {
	return n.Labels[corev1.LabelTopologyRegion] + "/" + n.Labels[corev1.LabelTopologyZone]
}

// Rates bound evictions. Fields that are 0 are as in Kubernetes by default.
type Rates struct {
	// Eviction is of how many nodes of a zone a second pods are evicted. Default 0.1.
	Eviction float64
	// Secondary is the same for a large zone most of which is gone. Default 0.01.
	Secondary float64
	// LargeZone is the number of nodes above which a zone is large; of a smaller one most of which is gone no pods are
	// evicted. Default 50.
	LargeZone int
	// Unhealthy is the share of a zone's nodes that are gone when most of it is. Default 0.55.
	Unhealthy float64
}

func (r Rates) complete() Rates {
	return Rates{
		Eviction: cmp.Or(r.Eviction, 0.1), Secondary: cmp.Or(r.Secondary, 0.01),
		LargeZone: cmp.Or(r.LargeZone, 50), Unhealthy: cmp.Or(r.Unhealthy, 0.55),
	}
}

// between is the time between two nodes, of so many a second.
func between(rate float64) time.Duration { return time.Duration(float64(time.Second) / rate) }

// survey is the state of all zones.
type survey struct {
	ready, gone map[string]int // nodes by zone
}

func surveyOf(nodes []corev1.Node) survey {
	s := survey{ready: map[string]int{}, gone: map[string]int{}}
	for i := range nodes {
		s.add(zoneOf(&nodes[i]), status(nodes[i].Status.Conditions, corev1.NodeReady) == corev1.ConditionTrue, 1)
	}
	return s
}

// add counts nodes of a zone. A zone of none is not there.
func (s survey) add(zone string, ready bool, count int) {
	in := s.gone
	if ready {
		in = s.ready
	}
	if in[zone] += count; in[zone] == 0 {
		delete(in, zone)
	}
}

// cutOff tells that no node of any zone is ready.
func (s survey) cutOff() bool { return len(s.ready) == 0 && len(s.gone) > 0 }

// pace is the least time between the evictions of two nodes of a zone. 0 is
// that there are to be none.
func (s survey) pace(zone string, r Rates) time.Duration {
	ready, gone := s.ready[zone], s.gone[zone]
	switch {
	case ready == 0 || gone <= 2 || float64(gone)/float64(ready+gone) < r.Unhealthy:
		return between(r.Eviction)
	case ready+gone > r.LargeZone:
		return between(r.Secondary)
	default:
		return 0
	}
}
