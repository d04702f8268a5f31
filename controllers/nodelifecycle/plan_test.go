package nodelifecycle

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	early = metav1.NewTime(time.Unix(1000, 0))
	late  = metav1.NewTime(time.Unix(2000, 0))
)

func node(ready corev1.ConditionStatus, taints ...corev1.Taint) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", CreationTimestamp: early}, Spec: corev1.NodeSpec{Taints: taints}}
	if ready != "" {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready, LastTransitionTime: early, LastHeartbeatTime: early}}
	}
	return n
}

func taint(key string, effect corev1.TaintEffect) corev1.Taint {
	return corev1.Taint{Key: key, Effect: effect, TimeAdded: &early}
}

func TestSilenced(t *testing.T) {
	got, changed := silenced(node(corev1.ConditionTrue), late)
	if !changed || len(got) != len(reported) {
		t.Fatalf("changed %v: %v", changed, got)
	}
	if c := got[0]; c.Status != corev1.ConditionUnknown || c.Reason != reasonUnknown || c.LastTransitionTime != late || c.LastHeartbeatTime != early {
		t.Errorf("Ready became %+v", c)
	}
	if c := got[1]; c.Reason != reasonNeverUpdated || c.LastHeartbeatTime != early {
		t.Errorf("a condition that was never reported became %+v", c)
	}
	n := node("")
	n.Status.Conditions = got
	if _, changed := silenced(n, late); changed {
		t.Error("silencing twice changes something")
	}
}

func TestTaints(t *testing.T) {
	const noSchedule, noExecute = corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute
	foreign := taint("example.com/gpu", noExecute)
	for _, tc := range []struct {
		name     string
		node     *corev1.Node
		eviction eviction
		want     []string // as kubectl writes them
	}{
		{"ready", node(corev1.ConditionTrue, foreign, taint(corev1.TaintNodeNotReady, noSchedule), taint(corev1.TaintNodeUnreachable, noExecute)), evict,
			[]string{"example.com/gpu:NoExecute"}},
		{"not ready", node(corev1.ConditionFalse, foreign), evict,
			[]string{"example.com/gpu:NoExecute", "node.kubernetes.io/not-ready:NoSchedule", "node.kubernetes.io/not-ready:NoExecute"}},
		{"unreachable after not ready", node(corev1.ConditionUnknown, taint(corev1.TaintNodeNotReady, noSchedule), taint(corev1.TaintNodeNotReady, noExecute)), hold,
			[]string{"node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"}},
		{"not its turn", node(corev1.ConditionUnknown), hold, []string{"node.kubernetes.io/unreachable:NoSchedule"}},
		{"all nodes are gone", node(corev1.ConditionUnknown, taint(corev1.TaintNodeUnreachable, noExecute)), spare, []string{"node.kubernetes.io/unreachable:NoSchedule"}},
		{"never heard of", node(""), evict, []string{"node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _ := taints(tc.node, tc.eviction, late)
			if d := cmp.Diff(tc.want, texts(got)); d != "" {
				t.Errorf("taints (-want +got):\n%s", d)
			}
			tc.node.Spec.Taints = got
			if _, changed := taints(tc.node, hold, late); changed && tc.eviction != spare {
				t.Error("a second pass changes something")
			}
		})
	}
}

func texts(taints []corev1.Taint) (out []string) {
	for _, t := range taints {
		out = append(out, fmt.Sprintf("%s:%s", t.Key, t.Effect))
	}
	return out
}

func TestCordonAndPressure(t *testing.T) {
	n := node(corev1.ConditionTrue)
	n.Spec.Unschedulable = true
	n.Status.Conditions = append(n.Status.Conditions,
		corev1.NodeCondition{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionTrue},
		corev1.NodeCondition{Type: corev1.NodeDiskPressure, Status: corev1.ConditionUnknown})
	got, _ := taints(n, evict, late)
	want := []string{"node.kubernetes.io/memory-pressure:NoSchedule", "node.kubernetes.io/unschedulable:NoSchedule"}
	if d := cmp.Diff(want, texts(got)); d != "" {
		t.Errorf("taints (-want +got):\n%s", d)
	}
}

func TestSurvey(t *testing.T) {
	zones := func(ready, gone int) survey {
		var nodes []corev1.Node
		for range ready {
			nodes = append(nodes, *node(corev1.ConditionTrue))
		}
		for range gone {
			nodes = append(nodes, *node(corev1.ConditionUnknown))
		}
		return surveyOf(nodes)
	}
	for _, tc := range []struct {
		ready, gone int
		cutOff      bool
		pace        time.Duration
	}{
		{1, 0, false, 10 * time.Second}, {0, 1, true, 10 * time.Second}, {1, 2, false, 10 * time.Second},
		{2, 3, false, 0}, {40, 60, false, 100 * time.Second}, {60, 40, false, 10 * time.Second},
	} {
		s := zones(tc.ready, tc.gone)
		if got := s.cutOff(); got != tc.cutOff {
			t.Errorf("%d ready, %d gone: cut off is %v", tc.ready, tc.gone, got)
		}
		if got := s.pace("/", Rates{}.complete()); got != tc.pace {
			t.Errorf("%d ready, %d gone: pace %v, want %v", tc.ready, tc.gone, got, tc.pace)
		}
	}
}

// TestHealth follows a node whose clock is wrong.
func TestHealth(t *testing.T) {
	now := time.Unix(0, 0)
	h := newHealth(func() time.Time { return now })
	n := node(corev1.ConditionTrue)
	seen := func(want int64) {
		t.Helper()
		if got := h.node(n); got != time.Unix(want, 0) {
			t.Errorf("last heard at %d, want %d", got.Unix(), want)
		}
	}
	seen(0)
	now = time.Unix(10, 0)
	seen(0)
	renewed := metav1.NewMicroTime(time.Unix(1e6, 0))
	h.lease("n", &renewed)
	seen(10)
	now = time.Unix(20, 0)
	h.lease("n", &renewed)
	seen(10)
	n.Status.Conditions[0].LastHeartbeatTime = late
	seen(20)
	now = time.Unix(30, 0)
	n.Status.Conditions[0].Status = corev1.ConditionUnknown
	seen(20)
	h.count(n)
	if s := h.survey(); !s.cutOff() {
		t.Errorf("one node, and it is not ready: %+v", s)
	}
	h.count(node(corev1.ConditionTrue))
	if s := h.survey(); s.cutOff() || s.ready["/"] != 1 || len(s.gone) != 0 {
		t.Errorf("one node, and it is ready again: %+v", s)
	}
	seen(30)
}

func TestPace(t *testing.T) {
	now := time.Unix(0, 0)
	h := newHealth(func() time.Time { return now })
	var got []string
	for _, step := range []struct {
		at   int64
		zone string
	}{{0, "a"}, {0, "a"}, {0, "b"}, {4, "a"}, {10, "a"}} {
		now = time.Unix(step.at, 0)
		due, wait := h.mayEvict(step.zone, 10*time.Second)
		got = append(got, fmt.Sprintf("%d %s: %v %v", step.at, step.zone, due, wait))
	}
	want := []string{"0 a: true 0s", "0 a: false 10s", "0 b: true 0s", "4 a: false 6s", "10 a: true 0s"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if !h.unmarked("n", false) || h.unmarked("n", true) {
		t.Error("the pods of a node that is not ready are to be marked, those of one that is are not")
	}
	h.mark("n")
	if h.unmarked("n", false) {
		t.Error("pods are marked twice")
	}
	h.unmarked("n", true)
	if !h.unmarked("n", false) {
		t.Error("pods are not marked when the node fails again")
	}
}
