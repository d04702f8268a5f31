package scheduler

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
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
	var written []metav1.Object
	for _, r := range t.reservations {
		out, err := writes(ctx, s.client, r.Writes)
		if err != nil {
			s.giveUp(ctx, t, r.Plugin, err)
			return
		}
		written = append(written, out...)
	}
	s.mu.Lock()
	for _, o := range written {
		s.learn(o)
	}
	t.written = true
	s.signal() // the loop is to know when this is due
	next := s.advance(ctx, t)
	s.mu.Unlock()
	if next != nil {
		next()
	}
}

// learn takes in what was written before the watch tells of it. The caller holds the lock.
func (s *scheduler) learn(o metav1.Object) {
	switch o := o.(type) {
	case *corev1.PersistentVolume:
		s.cluster.SetVolume(o)
	case *corev1.PersistentVolumeClaim:
		s.cluster.SetClaim(o)
	case *resourcev1.ResourceClaim:
		s.cluster.SetDeviceClaim(o)
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
			if next := s.advance(ctx, t); next != nil {
				return next
			}
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
	p := t.item.Pod.Pod // which is the queue's to change from unbind on
	klog.FromContext(ctx).V(2).Info("Giving up what a pod was to take", "pod", klog.KObj(p), "node", t.node, "plugin", plugin, "err", err)
	s.undo(ctx, p, t.reservations)
	if s.unbind(t.item) {
		s.report(ctx, p, corev1.PodReasonSchedulerError, fmt.Sprintf("running PreBind plugin %q: %v", plugin, err), nil)
	}
}

// undo takes back what was written for a pod that did not get its node.
func (s *scheduler) undo(ctx context.Context, p *corev1.Pod, reservations []*framework.Reservation) {
	for _, r := range reservations {
		for _, w := range r.Undo {
			err := undoOnce(ctx, s.client, w)
			for attempt := 1; apierrors.IsConflict(err) && attempt < maxMerges; attempt++ {
				err = undoOnce(ctx, s.client, w)
			}
			if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "Giving back what a pod took", "pod", klog.KObj(p), "plugin", r.Plugin)
			}
		}
	}
}

func undoOnce(ctx context.Context, client kubernetes.Interface, w framework.Write) error {
	o, err := merged(ctx, client, w)
	if err != nil || o == nil {
		return err
	}
	_, err = write(ctx, client, o, w.Status)
	return err
}

// release takes back what a pod took. The caller holds the lock.
func (s *scheduler) release(uid types.UID) {
	if t := s.takers[uid]; t != nil {
		delete(s.takers, uid)
		framework.Release(t.reservations)
	}
}

// writes are made in order; of an object that is written twice the second write is of the first one's result.
func writes(ctx context.Context, client kubernetes.Interface, list []framework.Write) (written []metav1.Object, _ error) {
	versions := map[types.UID]string{}
	for _, w := range list {
		o := w.Object
		if version, written := versions[o.GetUID()]; written {
			o = copyOf(o)
			o.SetResourceVersion(version)
		}
		out, err := write(ctx, client, o, w.Status)
		for attempt := 0; apierrors.IsConflict(err) && w.Merge != nil && attempt < maxMerges; attempt++ {
			if o, err = merged(ctx, client, w); err != nil {
				return nil, err
			}
			out, err = write(ctx, client, o, w.Status)
		}
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", klog.KRef(o.GetNamespace(), o.GetName()), err)
		}
		versions[out.GetUID()] = out.GetResourceVersion()
		written = append(written, out)
	}
	return written, nil
}

// maxMerges is how often a write is tried again after somebody else has written the object.
const maxMerges = 5

func copyOf(o metav1.Object) metav1.Object {
	return o.(runtime.Object).DeepCopyObject().(metav1.Object)
}

// write writes one object and returns what it became.
func write(ctx context.Context, client kubernetes.Interface, o metav1.Object, status bool) (metav1.Object, error) {
	switch o := o.(type) {
	case *corev1.PersistentVolume:
		return client.CoreV1().PersistentVolumes().Update(ctx, o, metav1.UpdateOptions{})
	case *corev1.PersistentVolumeClaim:
		return client.CoreV1().PersistentVolumeClaims(o.Namespace).Update(ctx, o, metav1.UpdateOptions{})
	case *resourcev1.ResourceClaim:
		if status {
			return client.ResourceV1().ResourceClaims(o.Namespace).UpdateStatus(ctx, o, metav1.UpdateOptions{})
		}
		return client.ResourceV1().ResourceClaims(o.Namespace).Update(ctx, o, metav1.UpdateOptions{})
	}
	return nil, fmt.Errorf("there is no way to write a %T", o)
}

// merged is what is to be written to the newest state of an object.
func merged(ctx context.Context, client kubernetes.Interface, w framework.Write) (metav1.Object, error) {
	claim, is := w.Object.(*resourcev1.ResourceClaim)
	if !is {
		return nil, fmt.Errorf("there is no way to merge a %T", w.Object)
	}
	newer, err := client.ResourceV1().ResourceClaims(claim.Namespace).Get(ctx, claim.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if newer.UID != claim.UID {
		return nil, fmt.Errorf("claim %s got replaced in the meantime", klog.KObj(claim))
	}
	return w.Merge(newer)
}
