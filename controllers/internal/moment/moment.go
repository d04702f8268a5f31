// Package moment gives controllers the clock that they go by: the machine's, or one that a test moves.
//
// Contract: a manager that Follow made has a clock of its own, all others have the machine's. By that clock
// controllers tell the time (Now) and come back to an object later (Queue). Retries after failures and
// conflicts are always by the machine's clock, so that a clock that stands still holds nothing up.
package moment

import (
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Clock is what a test's clock can do.
type Clock interface {
	clock.WithTicker
	clock.WithDelayedExecution
}

// manager is a manager with a clock.
type manager struct {
	ctrl.Manager
	clock Clock
}

// Follow makes the controllers that are added to the manager returned go by a clock. Nil is the machine's.
func Follow(mgr ctrl.Manager, c Clock) ctrl.Manager {
	if c == nil {
		return mgr
	}
	return &manager{mgr, c}
}

// Now is the manager's function that tells the time.
func Now(mgr ctrl.Manager) func() time.Time {
	if m, own := mgr.(*manager); own {
		return m.clock.Now
	}
	return time.Now
}

// NewQueue makes queues for controllers of the manager; it is nil where they need none of their own.
func NewQueue(mgr ctrl.Manager) func(string, workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	m, own := mgr.(*manager)
	if !own {
		return nil
	}
	return func(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
		return &queue{
			TypedRateLimitingInterface: workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[reconcile.Request]{Name: name}),
			clock:                      m.clock, pending: map[reconcile.Request]time.Time{},
		}
	}
}

// shortest is the least delay that is an appointment. Shorter ones are retries, or spread work out.
const shortest = time.Second

// queue keeps long delays by a clock, and all else by the machine's.
type queue struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]
	clock clock.WithDelayedExecution

	mu      sync.Mutex // of pending
	pending map[reconcile.Request]time.Time
}

// AddAfter implements workqueue.TypedDelayingInterface. Of several appointments of an object the first counts.
func (q *queue) AddAfter(r reconcile.Request, d time.Duration) {
	if d < shortest {
		q.TypedRateLimitingInterface.AddAfter(r, d)
		return
	}
	at := q.clock.Now().Add(d)
	q.mu.Lock()
	old, there := q.pending[r]
	if there && !at.Before(old) {
		q.mu.Unlock()
		return
	}
	q.pending[r] = at
	q.mu.Unlock()
	q.clock.AfterFunc(d, func() { q.keep(r, at) }) // without the lock: the clock has one of its own
}

// keep keeps an appointment, unless an earlier one has taken its place.
func (q *queue) keep(r reconcile.Request, at time.Time) {
	q.mu.Lock()
	due := q.pending[r].Equal(at)
	if due {
		delete(q.pending, r)
	}
	q.mu.Unlock()
	if due {
		q.Add(r)
	}
}
