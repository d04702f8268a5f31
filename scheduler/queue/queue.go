// Package queue orders the pods that wait to be scheduled.
//
// A pod is in one of three places. Active pods are handed out, the most important first, then the oldest. Pods in
// backoff were tried in vain and become active when their time is up, or before that when nothing is active and an
// event promised room for them. Unschedulable pods wait for an event that could make room; a slow flush retries those
// that no event has touched for long, in case a hint was wrong.
//
// The queue owns no clock, goroutine or lock: callers pass the time and learn from Next when to look again. A pod that
// was handed out by Pop is no longer in the queue until it is put back.
package queue

import (
	"container/heap"
	"container/list"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// Times, as in kube-scheduler by default.
const (
	InitialBackoff = time.Second
	MaxBackoff     = 10 * time.Second
	MaxWait        = 5 * time.Minute // in unschedulable, without an event
)

// Item is a pod that waits.
type Item struct {
	Pod      *snapshot.Pod
	Added    time.Time // when it first came
	Attempts int
	Rejected framework.Plugins // what turned it down last
	Gated    bool

	place   place
	index   int           // in its heap
	element *list.Element // in unschedulable
	ready   time.Time     // end of backoff
	since   time.Time     // in unschedulable
	patient bool          // must wait out its backoff: it failed by an error, not for lack of room
}

type place int

const (
	nowhere place = iota
	active
	backoff // for lack of room
	penance // backoff after an error
	unschedulable
)

// Queue holds items by the uid of their pod. No operation looks at all of them, save Move at those that are
// unschedulable.
type Queue struct {
	items         map[types.UID]*Item
	active        itemHeap
	backoff       itemHeap
	penance       itemHeap
	unschedulable list.List // by since; gated ones too

	initialBackoff, maxBackoff time.Duration
}

// New is an empty queue. Backoffs double from the initial to the longest.
func New(initialBackoff, maxBackoff time.Duration) *Queue {
	return &Queue{
		initialBackoff: initialBackoff, maxBackoff: maxBackoff,
		items:   map[types.UID]*Item{},
		active:  itemHeap{less: before},
		backoff: itemHeap{less: sooner},
		penance: itemHeap{less: func(a, b *Item) bool { return a.ready.Before(b.ready) }},
	}
}

// before is the order in which active pods are handed out.
func before(a, b *Item) bool {
	if a.Pod.Priority != b.Pod.Priority {
		return a.Pod.Priority > b.Pod.Priority
	}
	return a.Added.Before(b.Added)
}

// sooner is the order in which pods come back for want of others: those whose backoff ends in an earlier second, and of
// these the more important.
func sooner(a, b *Item) bool {
	if x, y := a.ready.Unix(), b.ready.Unix(); x != y {
		return x < y
	}
	return before(a, b)
}

// Len is the number of pods in each place.
func (q *Queue) Len() (nActive, nBackoff, nUnschedulable int) {
	return len(q.active.items), len(q.backoff.items) + len(q.penance.items), q.unschedulable.Len()
}

// Add puts a new pod in, active, or unschedulable if it is gated.
func (q *Queue) Add(p *snapshot.Pod, gated bool, now time.Time) {
	item := &Item{Pod: p, Added: now, Gated: gated}
	if gated {
		q.put(item, unschedulable, now)
		return
	}
	q.put(item, active, now)
}

// Update takes a pod's newer state. If it differs in what matters to scheduling, it is tried again.
func (q *Queue) Update(p *snapshot.Pod, gated, matters bool, now time.Time) (known bool) {
	item := q.items[p.UID]
	if item == nil {
		return false
	}
	item.Pod = p
	opened := item.Gated && !gated
	item.Gated = gated
	switch {
	case gated:
		q.put(item, unschedulable, now)
	case opened || item.place == unschedulable && matters:
		q.retry(item, now)
	case item.place == active:
		heap.Fix(&q.active, item.index)
	}
	return true
}

// Remove forgets a pod.
func (q *Queue) Remove(uid types.UID) {
	if item := q.items[uid]; item != nil {
		q.take(item)
		delete(q.items, uid)
	}
}

// Pop hands out the next pod, or nil.
func (q *Queue) Pop(now time.Time) *Item {
	for len(q.backoff.items) > 0 && q.backoff.items[0].ready.Unix() < now.Unix() {
		q.put(q.backoff.items[0], active, now)
	}
	for len(q.penance.items) > 0 && !q.penance.items[0].ready.After(now) {
		q.put(q.penance.items[0], active, now)
	}
	var item *Item
	switch {
	case len(q.active.items) > 0:
		item = q.active.items[0]
	case len(q.backoff.items) > 0:
		item = q.backoff.items[0]
	}
	if item == nil {
		return nil
	}
	q.take(item)
	delete(q.items, item.Pod.UID)
	item.Attempts++
	return item
}

// Unschedulable puts back a pod for which there was no room.
func (q *Queue) Unschedulable(item *Item, rejected framework.Plugins, now time.Time) {
	item.Rejected, item.patient = rejected, false
	item.ready = now.Add(q.backoffFor(item.Attempts))
	q.put(item, unschedulable, now)
}

// Failed puts back a pod that met an error.
func (q *Queue) Failed(item *Item, now time.Time) {
	item.patient = true
	item.ready = now.Add(q.backoffFor(item.Attempts))
	q.put(item, penance, now)
}

// Move retries the unschedulable pods that want it.
func (q *Queue) Move(want func(*Item) bool, now time.Time) (moved int) {
	for e := q.unschedulable.Front(); e != nil; {
		item := e.Value.(*Item)
		e = e.Next()
		if !item.Gated && want(item) {
			q.retry(item, now)
			moved++
		}
	}
	return moved
}

// Flush retries pods that have waited for MaxWait.
func (q *Queue) Flush(now time.Time) {
	for e := q.unschedulable.Front(); e != nil; {
		item := e.Value.(*Item)
		if now.Sub(item.since) < MaxWait {
			return
		}
		e = e.Next()
		if item.Gated {
			q.put(item, unschedulable, now) // to be looked at again as late as the others
			continue
		}
		q.retry(item, now)
	}
}

// Next is when Pop or Flush next has something to do without anything happening. Zero is never.
func (q *Queue) Next() time.Time {
	var next time.Time
	if len(q.penance.items) > 0 {
		next = q.penance.items[0].ready
	}
	if e := q.unschedulable.Front(); e != nil {
		if due := e.Value.(*Item).since.Add(MaxWait); next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return next
}

// retry makes a pod active, once its backoff is over.
func (q *Queue) retry(item *Item, now time.Time) {
	switch {
	case !item.ready.After(now):
		q.put(item, active, now)
	case item.patient:
		q.put(item, penance, now)
	default:
		q.put(item, backoff, now)
	}
}

func (q *Queue) backoffFor(attempts int) time.Duration {
	d := q.initialBackoff
	for i := 1; i < attempts && d < q.maxBackoff; i++ {
		d *= 2
	}
	return min(d, q.maxBackoff)
}

func (q *Queue) put(item *Item, to place, now time.Time) {
	q.take(item)
	q.items[item.Pod.UID] = item
	item.place = to
	switch to {
	case active:
		heap.Push(&q.active, item)
	case backoff:
		heap.Push(&q.backoff, item)
	case penance:
		heap.Push(&q.penance, item)
	case unschedulable:
		item.since = now
		item.element = q.unschedulable.PushBack(item)
	}
}

func (q *Queue) take(item *Item) {
	switch item.place {
	case active:
		heap.Remove(&q.active, item.index)
	case backoff:
		heap.Remove(&q.backoff, item.index)
	case penance:
		heap.Remove(&q.penance, item.index)
	case unschedulable:
		q.unschedulable.Remove(item.element)
	}
	item.place = nowhere
}

// itemHeap is a heap.Interface whose items know their place.
type itemHeap struct {
	items []*Item
	less  func(a, b *Item) bool
}

func (h *itemHeap) Len() int           { return len(h.items) }
func (h *itemHeap) Less(i, j int) bool { return h.less(h.items[i], h.items[j]) }
func (h *itemHeap) Swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.items[i].index, h.items[j].index = i, j
}
func (h *itemHeap) Push(x any) {
	item := x.(*Item)
	item.index = len(h.items)
	h.items = append(h.items, item)
}
func (h *itemHeap) Pop() any {
	last := len(h.items) - 1
	item := h.items[last]
	h.items[last] = nil
	h.items = h.items[:last]
	return item
}
