package queue

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"coracle.dev/coracle/scheduler/snapshot"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

func pod(name string, priority int32) *snapshot.Pod {
	return snapshot.NewPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}, Spec: corev1.PodSpec{Priority: &priority}})
}

func popped(q *Queue, now time.Time) string {
	if item := q.Pop(now); item != nil {
		return item.Pod.Name
	}
	return ""
}

func TestOrder(t *testing.T) {
	q := New(InitialBackoff, MaxBackoff)
	q.Add(pod("old", 0), false, at(0))
	q.Add(pod("new", 0), false, at(1))
	q.Add(pod("vip", 9), false, at(2))
	q.Add(pod("gated", 99), true, at(0))
	for _, want := range []string{"vip", "old", "new", ""} {
		if got := popped(q, at(3)); got != want {
			t.Errorf("popped %q, want %q", got, want)
		}
	}
}

func TestUnschedulableWaitsForAnEvent(t *testing.T) {
	q := New(InitialBackoff, MaxBackoff)
	q.Add(pod("p", 0), false, at(0))
	item := q.Pop(at(0))
	q.Unschedulable(item, 1, at(0))
	if got := popped(q, at(60)); got != "" {
		t.Errorf("popped %s without an event", got)
	}
	q.Flush(at(60))
	if got := q.Next(); !got.Equal(at(300)) {
		t.Errorf("next flush at %v, want %v", got, at(300))
	}
	if n := q.Move(func(i *Item) bool { return i.Rejected.Has(1) }, at(60)); n != 0 {
		t.Errorf("moved %d pods that the event does not concern", n)
	}
	q.Move(func(i *Item) bool { return i.Rejected.Has(0) }, at(61))
	if got := popped(q, at(61)); got != "p" {
		t.Error("the event did not make the pod active")
	}
}

func TestFlush(t *testing.T) {
	q := New(InitialBackoff, MaxBackoff)
	q.Add(pod("p", 0), false, at(0))
	q.Unschedulable(q.Pop(at(0)), 1, at(0))
	q.Flush(at(300))
	if got := popped(q, at(300)); got != "p" {
		t.Error("a pod that waited for long was not retried")
	}
}

// TestBackoff: an event brings a pod back at once if nothing else is active, an error does not.
func TestBackoff(t *testing.T) {
	q := New(InitialBackoff, MaxBackoff)
	q.Add(pod("room", 0), false, at(0))
	q.Unschedulable(q.Pop(at(0)), 1, at(0))
	q.Add(pod("error", 0), false, at(0))
	q.Failed(q.Pop(at(0)), at(0))
	q.Move(func(*Item) bool { return true }, at(0.5))
	q.Add(pod("fresh", 0), false, at(0.5))
	for _, step := range []struct {
		at   float64
		want string
	}{{0.5, "fresh"}, {0.5, "room"}, {0.5, ""}, {0.9, ""}, {1, "error"}} {
		if got := popped(q, at(step.at)); got != step.want {
			t.Errorf("at %vs popped %q, want %q", step.at, got, step.want)
		}
	}
}

func TestBackoffDoubles(t *testing.T) {
	q := New(InitialBackoff, MaxBackoff)
	for attempts, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 60: 10 * time.Second} {
		if got := q.backoffFor(attempts); got != want {
			t.Errorf("after %d attempts %v, want %v", attempts, got, want)
		}
	}
}

func TestUpdate(t *testing.T) {
	q := New(InitialBackoff, MaxBackoff)
	q.Add(pod("gated", 0), true, at(0))
	q.Update(pod("gated", 0), false, true, at(1))
	if got := popped(q, at(1)); got != "gated" {
		t.Error("a pod whose gates went was not tried")
	}
	if q.Update(pod("unknown", 0), false, true, at(1)) {
		t.Error("an unknown pod was updated")
	}
	q.Add(pod("p", 0), false, at(2))
	q.Unschedulable(q.Pop(at(2)), 1, at(2))
	q.Update(pod("p", 0), false, false, at(5))
	if got := popped(q, at(5)); got != "" {
		t.Error("a status update retried a pod")
	}
	q.Update(pod("p", 0), false, true, at(5))
	if got := popped(q, at(5)); got != "p" {
		t.Error("a change of the pod did not retry it")
	}
	q.Add(pod("low", 0), false, at(6))
	q.Add(pod("mid", 1), false, at(6))
	q.Update(pod("low", 2), false, true, at(6))
	if got := popped(q, at(6)); got != "low" {
		t.Errorf("popped %s before the pod that became important", got)
	}
	q.Remove("mid")
	if got := popped(q, at(6)); got != "" {
		t.Errorf("popped %s after its removal", got)
	}
}
