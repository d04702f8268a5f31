package scheduler

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/queue"
)

// taker is a pod that was placed, and takes more than room: it is bound once that is settled. It occupies no binder
// while it waits, since a volume can take minutes to be made.
type taker struct {
	item         *queue.Item
	node         string
	reservations []*framework.Reservation
	due          time.Time // when the wait ends in vain
	written      bool
}

// settle writes what a pod takes, and binds it if that is all.
func (s *scheduler) settle(ctx context.Context, t *taker) {
	for _, r := range t.reservations {
		for _, w := range r.Writes {
			if err := write(ctx, s.client, w); err != nil {
				s.giveUp(ctx, t, r.Plugin, err)
				return
			}
		}
	}
	s.mu.Lock()
	t.written = true
	next := s.advance(ctx, t)
	s.mu.Unlock()
	if next != nil {
		next()
	}
}

// review looks again at all pods that wait for what they took. Call it with the lock, after what they wait for changed.
func (s *scheduler) review(ctx context.Context) {
	for _, t := range s.takers {
		if next := s.advance(ctx, t); next != nil {
			s.writes = append(s.writes, next)
			s.signal()
		}
	}
}

// advance returns what follows for a pod that waits, or nil while it goes on to wait. The caller holds the lock.
func (s *scheduler) advance(ctx context.Context, t *taker) (next func()) {
	if !t.written || s.takers[t.item.Pod.UID] != t {
		return nil
	}
	done, r, err := framework.Settled(t.reservations)
	switch {
	case err != nil:
		t.written = false // it is given up once
		return func() { s.giveUp(ctx, t, r.Plugin, err) }
	case done:
		t.written = false
		return func() { s.bind(ctx, t.item, t.node) }
	}
	return nil
}

// late returns what follows for a pod that has waited for too long, or nil. The caller holds the lock.
func (s *scheduler) late(ctx context.Context, now time.Time) func() {
	for _, t := range s.takers {
		if t.written && !t.due.After(now) {
			t.written = false
			_, r, _ := framework.Settled(t.reservations)
			return func() { s.giveUp(ctx, t, r.Plugin, context.DeadlineExceeded) }
		}
	}
	return nil
}

// nextLate is when a pod will have waited for too long. Zero is never.
func (s *scheduler) nextLate() (next time.Time) {
	for _, t := range s.takers {
		if t.written {
			next = earliest(next, t.due)
		}
	}
	return next
}

func (s *scheduler) giveUp(ctx context.Context, t *taker, plugin string, err error) {
	if ctx.Err() != nil {
		return
	}
	klog.FromContext(ctx).V(2).Info("Giving up what a pod was to take", "pod", klog.KObj(t.item.Pod), "node", t.node, "plugin", plugin, "err", err)
	if s.unbind(t.item) {
		s.report(ctx, t.item.Pod.Pod, corev1.PodReasonSchedulerError, fmt.Sprintf("running PreBind plugin %q: %v", plugin, err), nil)
	}
}

// release takes back what a pod took. The caller holds the lock.
func (s *scheduler) release(uid types.UID) {
	if t := s.takers[uid]; t != nil {
		delete(s.takers, uid)
		framework.Release(t.reservations)
	}
}

// write makes one write.
func write(ctx context.Context, client kubernetes.Interface, w framework.Write) error {
	return writeOnce(ctx, client, w.Object)
}

func writeOnce(ctx context.Context, client kubernetes.Interface, o metav1.Object) error {
	var err error
	switch o := o.(type) {
	case *corev1.PersistentVolume:
		_, err = client.CoreV1().PersistentVolumes().Update(ctx, o, metav1.UpdateOptions{})
	case *corev1.PersistentVolumeClaim:
		_, err = client.CoreV1().PersistentVolumeClaims(o.Namespace).Update(ctx, o, metav1.UpdateOptions{})
	default:
		err = fmt.Errorf("there is no way to write a %T", o)
	}
	if err != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("writing %s: %w", klog.KRef(o.GetNamespace(), o.GetName()), err)
	}
	return err
}
