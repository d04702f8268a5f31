// Package expectation remembers the writes of a controller until its cache has
// seen them.
//
// A controller that counts objects in a cache must not count before the cache
// holds what it has just created, or it creates it twice. It announces its
// writes here, its event handler reports what the cache shows, and the
// controller makes no new decision while something is outstanding.
//
// Owners are keyed by UID, so that an owner made anew under an old name starts
// afresh. An expectation that is not met within Timeout counts as met: the
// event was lost, and the cache is to be believed again.
package expectation

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Timeout is how long an unmet expectation holds a controller back.
const Timeout = 5 * time.Minute

// Tracker holds the expectations of one controller. The zero value is not
// usable; see New.
type Tracker struct {
	now func() time.Time

	mu      sync.Mutex
	pending map[types.UID]*outstanding
}

type outstanding struct {
	creations int
	deletions map[types.UID]struct{}
	since     time.Time
}

// New makes an empty tracker which tells the time by now.
func New(now func() time.Time) *Tracker {
	return &Tracker{now: now, pending: map[types.UID]*outstanding{}}
}

// ExpectCreations announces n creations, before they are asked for.
func (t *Tracker) ExpectCreations(owner types.UID, n int) {
	if n <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entry(owner).creations += n
}

// ExpectDeletion announces the deletion of an object, before it is asked for.
func (t *Tracker) ExpectDeletion(owner, object types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entry(owner).deletions[object] = struct{}{}
}

// CreationObserved takes back one creation: the cache shows it, or it failed.
func (t *Tracker) CreationObserved(owner types.UID) { t.CreationsObserved(owner, 1) }

// CreationsObserved takes back n creations.
func (t *Tracker) CreationsObserved(owner types.UID, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o, ok := t.pending[owner]; ok {
		o.creations = max(0, o.creations-n)
		t.drop(owner, o)
	}
}

// DeletionObserved takes back a deletion: the cache shows it, or it failed.
func (t *Tracker) DeletionObserved(owner, object types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o, ok := t.pending[owner]; ok {
		delete(o.deletions, object)
		t.drop(owner, o)
	}
}

// Satisfied tells whether the cache shows all that was announced for the owner.
func (t *Tracker) Satisfied(owner types.UID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	o, ok := t.pending[owner]
	if !ok {
		return true
	}
	if t.now().Sub(o.since) > Timeout {
		delete(t.pending, owner)
		return true
	}
	return false
}

// Forget drops what is known of an owner that is gone.
func (t *Tracker) Forget(owner types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pending, owner)
}

func (t *Tracker) entry(owner types.UID) *outstanding {
	o, ok := t.pending[owner]
	if !ok {
		o = &outstanding{deletions: map[types.UID]struct{}{}}
		t.pending[owner] = o
	}
	o.since = t.now()
	return o
}

func (t *Tracker) drop(owner types.UID, o *outstanding) {
	if o.creations == 0 && len(o.deletions) == 0 {
		delete(t.pending, owner)
	}
}
