package podstatus

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(now.Add(-100 * time.Hour))},
		Spec:       corev1.PodSpec{NodeName: "n-" + name},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func ready(since time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-since))}}
	}
}

func restarts(n int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: n}} }
}

func on(node string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = node } }

func phase(ph corev1.PodPhase) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Phase = ph }
}

func deletionCost(c string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations = map[string]string{DeletionCost: c} }
}

func created(age time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(now.Add(-age)) }
}

// The pods of each case are given in the order in which they are to go.
func TestVictims(t *testing.T) {
	for name, order := range map[string][]*corev1.Pod{
		"unassigned, pending, unknown, running": {
			pod("a", on(""), phase(corev1.PodPending)), pod("b", phase(corev1.PodPending)), pod("c", phase(corev1.PodUnknown)), pod("d")},
		"not ready before ready":     {pod("b"), pod("a", ready(time.Hour))},
		"cheap before dear":          {pod("c", ready(time.Hour), deletionCost("-5")), pod("b", ready(time.Hour)), pod("a", ready(time.Hour), deletionCost("7"))},
		"unready before cheap":       {pod("b", deletionCost("9")), pod("a", ready(time.Hour), deletionCost("-9"))},
		"doubled up on a node":       {pod("b", on("x"), ready(time.Hour)), pod("c", on("x"), ready(time.Hour*2)), pod("a", on("y"), ready(time.Second))},
		"ready for a shorter time":   {pod("b", ready(time.Second)), pod("a", ready(time.Hour))},
		"often restarted":            {pod("c", restarts(5)), pod("a", restarts(1)), pod("b")},
		"young before old":           {pod("b", created(time.Second)), pod("a", created(time.Hour))},
		"alike in magnitude: by uid": {pod("a", ready(70*time.Minute)), pod("b", ready(65*time.Minute))},
	} {
		t.Run(name, func(t *testing.T) {
			for n := range order {
				shuffled := append([]*corev1.Pod(nil), order...)
				rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
				var got, want []string
				for _, p := range Victims(shuffled, shuffled, n, now) {
					got = append(got, p.Name)
				}
				for _, p := range order[:n] {
					want = append(want, p.Name)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("first %d (-want +got):\n%s", n, diff)
				}
			}
		})
	}
}

func TestVictimsAll(t *testing.T) {
	pods := []*corev1.Pod{pod("a"), pod("b")}
	if got := Victims(pods, nil, 5, now); len(got) != 2 {
		t.Errorf("%d victims of 2", len(got))
	}
}

func TestAvailable(t *testing.T) {
	for _, tc := range []struct {
		name      string
		pod       *corev1.Pod
		minReady  int32
		available bool
		in        time.Duration
	}{
		{"not ready", pod("a"), 0, false, 0},
		{"ready", pod("a", ready(0)), 0, true, 0},
		{"not for long enough", pod("a", ready(3*time.Second)), 10, false, 7 * time.Second},
		{"for just long enough", pod("a", ready(10*time.Second)), 10, true, 0},
	} {
		available, at := Available(tc.pod, tc.minReady, now)
		if available != tc.available {
			t.Errorf("%s: available is %v", tc.name, available)
		}
		if tc.in != 0 && at.Sub(now) != tc.in || tc.in == 0 && !at.IsZero() {
			t.Errorf("%s: available at %v, not in %v", tc.name, at, tc.in)
		}
	}
}

func TestActive(t *testing.T) {
	deleted := pod("d", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: now} })
	for _, tc := range []struct {
		pod                         *corev1.Pod
		active, finished, terminate bool
	}{
		{pod("a"), true, false, false},
		{pod("a", phase(corev1.PodFailed)), false, true, false},
		{pod("a", phase(corev1.PodSucceeded)), false, true, false},
		{deleted, false, false, true},
	} {
		if Active(tc.pod) != tc.active || Finished(tc.pod) != tc.finished || Terminating(tc.pod) != tc.terminate {
			t.Errorf("%s %s: active %v, finished %v, terminating %v", tc.pod.Name, tc.pod.Status.Phase, Active(tc.pod), Finished(tc.pod), Terminating(tc.pod))
		}
	}
}
