package podstatus

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DeletionCost is the annotation by which a pod asks to be deleted before pods
// of higher cost, or after those of lower.
const DeletionCost = "controller.kubernetes.io/pod-deletion-cost"

// Victims returns the n of the given pods whose deletion loses least. related
// are the pods that count for the spread over nodes: where more of them share a
// node, one is deleted first. The order is that of Kubernetes 1.37:
// unassigned, pending, not ready, cheap, doubled up, ready for a short time,
// often restarted, young; with times compared by their order of magnitude, so
// that within one the choice is as good as random.
func Victims(pods, related []*corev1.Pod, n int, now time.Time) []*corev1.Pod {
	if n >= len(pods) {
		return pods
	}
	if n <= 0 {
		return nil
	}
	onNode := map[string]int{}
	for _, p := range related {
		if Active(p) {
			onNode[p.Spec.NodeName]++
		}
	}
	ranked := make([]candidate, len(pods))
	for i, p := range pods {
		ranked[i] = newCandidate(p, onNode[p.Spec.NodeName])
	}
	slices.SortFunc(ranked, func(a, b candidate) int { return compare(a, b, now) })
	victims := make([]*corev1.Pod, n)
	for i := range victims {
		victims[i] = ranked[i].pod
	}
	return victims
}

// candidate holds what is compared, computed once for each pod.
type candidate struct {
	pod               *corev1.Pod
	phase             int
	ready             bool
	cost              int32
	sameNode          int
	readySince        metav1.Time
	restarts, sidecar int32
}

func newCandidate(p *corev1.Pod, sameNode int) candidate {
	c := candidate{pod: p, sameNode: sameNode, cost: cost(p)}
	switch p.Status.Phase {
	case corev1.PodPending:
		c.phase = 0
	case corev1.PodUnknown:
		c.phase = 1
	case corev1.PodRunning:
		c.phase = 2
	}
	if r := Condition(p, corev1.PodReady); r != nil && r.Status == corev1.ConditionTrue {
		c.ready, c.readySince = true, r.LastTransitionTime
	}
	c.restarts, c.sidecar = Restarts(p)
	return c
}

// cost is the pod's deletion cost; one that cannot be read counts as none.
func cost(p *corev1.Pod) int32 {
	n, err := strconv.ParseInt(p.Annotations[DeletionCost], 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

// compare is negative when a is to be deleted before b.
func compare(a, b candidate, now time.Time) int {
	if c := cmp.Or(
		compareBool(a.pod.Spec.NodeName != "", b.pod.Spec.NodeName != ""),
		cmp.Compare(a.phase, b.phase),
		compareBool(a.ready, b.ready),
		cmp.Compare(a.cost, b.cost),
		cmp.Compare(b.sameNode, a.sameNode),
	); c != 0 {
		return c
	}
	if a.ready && b.ready && !a.readySince.Equal(&b.readySince) {
		return compareAge(a, b, a.readySince, b.readySince, now)
	}
	if c := cmp.Or(cmp.Compare(b.restarts, a.restarts), cmp.Compare(b.sidecar, a.sidecar)); c != 0 {
		return c
	}
	if !a.pod.CreationTimestamp.Equal(&b.pod.CreationTimestamp) {
		return compareAge(a, b, a.pod.CreationTimestamp, b.pod.CreationTimestamp, now)
	}
	return 0
}

// compareAge puts an unknown age first, then the younger by order of magnitude.
func compareAge(a, b candidate, at, bt metav1.Time, now time.Time) int {
	if at.IsZero() || bt.IsZero() {
		return compareBool(!at.IsZero(), !bt.IsZero())
	}
	return cmp.Or(cmp.Compare(magnitude(now.Sub(at.Time)), magnitude(now.Sub(bt.Time))),
		cmp.Compare(a.pod.UID, b.pod.UID))
}

func magnitude(d time.Duration) int64 {
	if d <= 0 {
		return -1
	}
	return int64(math.Log2(float64(d)))
}

// compareBool puts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}
