// Package pace keeps a controller from spending a core on one large object.
//
// A pass over an owner of a thousand pods costs a thousandfold, and a thousand
// pods that start send thousands of events. So a pass is followed by a pause in
// proportion to the objects it went through, in which further events gather.
// Owners of few objects are never held back.
package pace

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	free      = 64                     // objects for which there is no pause
	perObject = 100 * time.Microsecond // of pause
	longest   = 250 * time.Millisecond
)

// Limiter spaces the passes of one controller.
type Limiter struct {
	now func() time.Time

	mu   sync.Mutex
	next map[types.NamespacedName]time.Time
}

// New makes a limiter which tells the time by now.
func New(now func() time.Time) *Limiter {
	return &Limiter{now: now, next: map[types.NamespacedName]time.Time{}}
}

// Wait returns how long the next pass over the owner is to be put off; zero
// means that it may start.
func (l *Limiter) Wait(owner types.NamespacedName) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	next, ok := l.next[owner]
	if !ok {
		return 0
	}
	if wait := next.Sub(l.now()); wait > 0 {
		return wait
	}
	delete(l.next, owner)
	return 0
}

// Done reports a pass over the owner that went through the given number of
// objects.
func (l *Limiter) Done(owner types.NamespacedName, objects int) {
	if objects <= free {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next[owner] = l.now().Add(min(longest, time.Duration(objects)*perObject))
}

// Forget drops what is known of an owner that is gone.
func (l *Limiter) Forget(owner types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.next, owner)
}
