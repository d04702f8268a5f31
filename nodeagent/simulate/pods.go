package simulate

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// record is a pod and its life. Its fields but pod and version are the worker's that has its key.
type record struct {
	pod     *corev1.Pod // the newest that was seen or written; guarded by simulation.mu
	version uint64      // the pod's
	node    *node
	life    *life
	ip      netip.Addr
}

// retry is how soon a write that failed is tried again.
const retry = time.Second

func keyOf(p *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
}

func versionOf(p *corev1.Pod) uint64 {
	v, err := strconv.ParseUint(p.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return v
}

// podChanged takes note of a pod of the simulated nodes.
func (s *simulation) podChanged(o any) {
	p, is := o.(*corev1.Pod)
	if !is {
		return
	}
	if n := s.fleet.named(p.Spec.NodeName); n != nil && s.note(p, n) {
		s.queue.Add(keyOf(p))
	}
}

// note keeps the newest version of a pod, and tells whether this is new.
func (s *simulation) note(p *corev1.Pod, n *node) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, version := keyOf(p), versionOf(p)
	r := s.pods[key]
	if r == nil || r.pod.UID != p.UID {
		if r != nil {
			s.forget(r)
		}
		s.pods[key] = &record{pod: p, version: version, node: n}
		return true
	}
	if version <= r.version {
		return false // what this process wrote itself
	}
	r.pod, r.version = p, version
	return true
}

func (s *simulation) podDeleted(o any) {
	p, is := last(o).(*corev1.Pod)
	if !is {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.pods[keyOf(p)]; r != nil && r.pod.UID == p.UID {
		s.forget(r)
		delete(s.pods, keyOf(p))
	}
}

func (s *simulation) forget(r *record) {
	if r.ip.IsValid() {
		r.node.release(r.ip)
	}
}

// requeue looks again at all pods of a node.
func (s *simulation) requeue(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, r := range s.pods {
		if r.node.name == node {
			s.queue.Add(key)
		}
	}
}

// work brings pods up to date, one after another, until the queue is shut down.
func (s *simulation) work(ctx context.Context) {
	for {
		key, down := s.queue.Get()
		if down {
			return
		}
		next, err := s.sync(ctx, key)
		switch {
		case err != nil && ctx.Err() == nil:
			klog.FromContext(ctx).Error(err, "Could not write what a simulated pod does; trying again", "pod", key)
			time.AfterFunc(retry, func() { s.queue.Add(key) }) // by the machine's clock, whatever that of the pods is
		case !next.IsZero():
			// From now on, which the clock may say is much later than when the write began.
			s.queue.AddAfter(key, max(next.Sub(s.Clock.Now()), 0))
		}
		s.queue.Done(key)
	}
}

// find returns the record of a pod, and the pod as it is now.
func (s *simulation) find(key types.NamespacedName) (*record, *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.pods[key]
	if r == nil {
		return nil, nil
	}
	return r, r.pod
}

// sync writes what a pod is like now, and returns when to look again; zero is never.
func (s *simulation) sync(ctx context.Context, key types.NamespacedName) (never time.Time, _ error) {
	r, pod := s.find(key)
	if r == nil || r.node.down.Load() {
		return never, nil
	}
	now := s.Clock.Now()
	if r.life == nil {
		if err := s.begin(r, pod, now); err != nil {
			return never, err
		}
		if r.life == nil {
			return never, nil
		}
	}
	does := r.node.pool.Load().Profile.read(pod)
	s.noteDeletion(r, pod, does, now)
	next := r.life.advance(pod, does, now)
	if pod.DeletionTimestamp != nil && !now.Before(r.life.stopAt) {
		return s.finish(ctx, r, pod, does, now)
	}
	return s.write(ctx, r, pod, r.life.show(pod, does, r.place(pod), now), next, now)
}

// noteDeletion settles when a deleted pod will have stopped.
func (s *simulation) noteDeletion(r *record, pod *corev1.Pod, does courses, now time.Time) {
	if pod.DeletionTimestamp == nil {
		return
	}
	grace := time.Duration(0)
	if seconds := pod.DeletionGracePeriodSeconds; seconds != nil {
		grace = time.Duration(*seconds) * time.Second
	}
	takes := does.stop
	if takes < 0 || takes > grace {
		takes = grace
	}
	if at := now.Add(takes); r.life.stopAt.IsZero() || at.Before(r.life.stopAt) {
		r.life.stopAt = at
	}
}

// begin takes up a pod, or goes on with one from an earlier run: its containers start anew in memory,
// as of when the pod's status says that they did.
func (s *simulation) begin(r *record, pod *corev1.Pod, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pods[keyOf(pod)] != r {
		return nil // it is gone
	}
	if ip, err := netip.ParseAddr(pod.Status.PodIP); err == nil && !pod.Spec.HostNetwork {
		r.node.hold(ip)
		r.ip = ip
	} else if !pod.Spec.HostNetwork {
		if r.ip, err = r.node.podIP(); err != nil {
			return err
		}
	}
	r.life = resume(pod, now)
	return nil
}

func (r *record) place(pod *corev1.Pod) place {
	host := r.node.address.String()
	if pod.Spec.HostNetwork {
		return place{host, host}
	}
	return place{host, r.ip.String()}
}

// write writes a pod's status if it is not what it should be.
func (s *simulation) write(ctx context.Context, r *record, pod *corev1.Pod, want corev1.PodStatus, next, now time.Time) (never time.Time, _ error) {
	if !equality.Semantic.DeepEqual(&pod.Status, &want) {
		changed := *pod // the status alone differs
		changed.Status = want
		written, err := s.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, &changed, metav1.UpdateOptions{})
		switch {
		case apierrors.IsNotFound(err), apierrors.IsConflict(err):
			return never, nil // a newer version is on its way, and looked at when it comes
		case err != nil:
			return never, fmt.Errorf("writing the status: %w", err)
		}
		s.wrote(written)
	}
	return next, nil
}

func (s *simulation) wrote(p *corev1.Pod) {
	p.ManagedFields = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.pods[keyOf(p)]; r != nil && r.pod.UID == p.UID && versionOf(p) > r.version {
		r.pod, r.version = p, versionOf(p)
	}
}

// finish removes a pod that has stopped. Where a finalizer keeps it, how it ended is written first.
func (s *simulation) finish(ctx context.Context, r *record, pod *corev1.Pod, does courses, now time.Time) (never time.Time, _ error) {
	if len(pod.Finalizers) > 0 {
		if _, err := s.write(ctx, r, pod, r.life.show(pod, does, r.place(pod), now), time.Time{}, now); err != nil {
			return never, err
		}
	}
	if seconds := pod.DeletionGracePeriodSeconds; len(pod.Finalizers) > 0 && seconds != nil && *seconds == 0 {
		return never, nil // all that is left to do is the finalizers' owners'
	}
	err := s.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64(0)), Preconditions: &metav1.Preconditions{UID: &pod.UID},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return never, fmt.Errorf("removing the pod: %w", err)
	}
	return never, nil
}

// resume makes up the life of a pod from what its status says.
func resume(pod *corev1.Pod, now time.Time) *life {
	begun := now
	if pod.Status.StartTime != nil {
		begun = pod.Status.StartTime.Time
	}
	l := newLife(begun)
	l.deadline = pod.Status.Reason == reasonDeadline
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			l.containers[list[i].Name] = taken(&list[i], begun)
		}
	}
	return l
}

// taken is the life of one container from what its status says.
func taken(s *corev1.ContainerStatus, begun time.Time) *container {
	c := &container{since: begun, restarts: s.RestartCount, streak: int(s.RestartCount)}
	if t := s.LastTerminationState.Terminated; t != nil {
		c.last = &run{t.StartedAt.Time, t.FinishedAt.Time, t.ExitCode, t.Reason}
		c.started = t.StartedAt.Time
		c.resume = t.FinishedAt.Add(backoff(max(c.streak-1, 0)))
	}
	if t := s.State.Running; t != nil {
		c.stage, c.since, c.started, c.resume = running, t.StartedAt.Time, t.StartedAt.Time, time.Time{}
	}
	if t := s.State.Terminated; t != nil {
		c.stage, c.since, c.started, c.code, c.reason = ended, t.FinishedAt.Time, t.StartedAt.Time, t.ExitCode, t.Reason
	}
	return c
}
