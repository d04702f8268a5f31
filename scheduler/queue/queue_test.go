package queue

import (
	"fmt"
	"math/rand/v2"
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

// TestNothingIsLost drives random operations, and sees that each pod is in the queue once until it is taken out.
func TestNothingIsLost(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	q := New(InitialBackoff, MaxBackoff)
	in, gated, seconds := map[string]bool{}, map[string]bool{}, 0.0
	for step := range 20000 {
		seconds += r.Float64()
		name := fmt.Sprint(r.IntN(30))
		switch r.IntN(6) {
		case 0:
			if !in[name] {
				gated[name] = r.IntN(4) == 0
				q.Add(pod(name, int32(r.IntN(3))), gated[name], at(seconds))
				in[name] = true
			}
		case 1:
			gated[name] = gated[name] && r.IntN(2) == 0
			if known := q.Update(pod(name, int32(r.IntN(3))), gated[name], r.IntN(2) == 0, at(seconds)); known != in[name] {
				t.Fatalf("step %d: updating %s: known %v, want %v", step, name, known, in[name])
			}
		case 2:
			q.Remove(types.UID(name))
			delete(in, name)
		case 3:
			q.Move(func(*Item) bool { return r.IntN(2) == 0 }, at(seconds))
		case 4:
			q.Flush(at(seconds))
		case 5:
			item := q.Pop(at(seconds))
			if item == nil {
				continue
			}
			if !in[item.Pod.Name] || gated[item.Pod.Name] {
				t.Fatalf("step %d: popped %s: in the queue %v, gated %v", step, item.Pod.Name, in[item.Pod.Name], gated[item.Pod.Name])
			}
			switch r.IntN(3) {
			case 0:
				delete(in, item.Pod.Name)
			case 1:
				q.Unschedulable(item, 1, at(seconds))
			case 2:
				q.Failed(item, at(seconds))
			}
		}
		if a, b, c := q.Len(); a+b+c != len(in) {
			t.Fatalf("step %d: %d+%d+%d pods in the queue, want %d", step, a, b, c, len(in))
		}
	}
	for range 100 { // whoever is not gated comes out in the end
		seconds += 1000
		q.Flush(at(seconds))
		if item := q.Pop(at(seconds)); item != nil {
			delete(in, item.Pod.Name)
		}
	}
	for name := range in {
		if !gated[name] {
			t.Errorf("pod %s stays in the queue", name)
		}
	}
}
