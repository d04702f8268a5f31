package moment

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestAppointmentsFollowTheClock(t *testing.T) {
	c := clocktesting.NewFakeClock(time.Now())
	q := NewQueue(Follow(nil, c))("test", workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	a := reconcile.Request{NamespacedName: types.NamespacedName{Name: "a"}}
	b := reconcile.Request{NamespacedName: types.NamespacedName{Name: "b"}}
	q.AddAfter(a, 3*time.Hour)
	q.AddAfter(a, time.Hour) // the first counts
	q.AddAfter(a, 2*time.Hour)
	c.Step(59 * time.Minute)
	q.AddAfter(b, time.Millisecond) // a retry, by the machine's clock
	if got, _ := q.Get(); got != b {
		t.Errorf("before its time came %v, want b", got.Name)
	}
	q.Done(b)
	c.Step(time.Minute)
	if got, _ := q.Get(); got != a {
		t.Errorf("after its time came %v, want a", got.Name)
	}
	q.Done(a)
	c.Step(24 * time.Hour)
	q.Add(b)
	if got, _ := q.Get(); got != b {
		t.Errorf("an appointment was kept twice: %v", got.Name)
	}
}

func TestOthersHaveTheMachinesClock(t *testing.T) {
	var mgr ctrl.Manager
	if Follow(mgr, nil) != nil || NewQueue(mgr) != nil {
		t.Error("a manager without a clock has queues of its own")
	}
	c := clocktesting.NewFakeClock(time.Unix(5, 0))
	if now := Now(Follow(mgr, c))(); !now.Equal(time.Unix(5, 0)) {
		t.Errorf("it is %v", now)
	}
}
