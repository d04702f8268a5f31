package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/queue"
	"coracle.dev/coracle/scheduler/snapshot"
)

// Reasons of events, as kube-scheduler spells them.
const (
	reasonScheduled        = "Scheduled"
	reasonFailedScheduling = "FailedScheduling"
)

// bind writes where an assumed pod goes.
func (s *scheduler) bind(ctx context.Context, item *queue.Item, node string) {
	p := item.Pod.Pod
	err := s.bindTo(ctx, item, node)
	if err == nil {
		s.of(p).recorder.Eventf(p, nil, corev1.EventTypeNormal, reasonScheduled, "Binding", "Successfully assigned %s/%s to %s", p.Namespace, p.Name, node)
		klog.FromContext(ctx).V(2).Info("Bound pod", "pod", klog.KObj(p), "node", node, "attempts", item.Attempts)
		return
	}
	if ctx.Err() != nil {
		return
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) { // without an answer it may have been bound
		s.undo(ctx, p, s.taken(item))
	}
	if s.unbind(item) && !apierrors.IsNotFound(err) {
		s.report(ctx, p, corev1.PodReasonSchedulerError, fmt.Sprintf("binding rejected: %v", err), nil)
	}
}

func (s *scheduler) bindTo(ctx context.Context, item *queue.Item, node string) error {
	p := item.Pod.Pod
	for i := range s.Extenders {
		if e := &s.Extenders[i]; e.Bind != nil && e.Wants(item.Pod) {
			return e.Bind(ctx, p, node)
		}
	}
	return s.client.CoreV1().Pods(p.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: p.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}, metav1.CreateOptions{})
}

// taken is what a pod took besides its place.
func (s *scheduler) taken(item *queue.Item) []*framework.Reservation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.takers[item.Pod.UID]; t != nil && t.item == item {
		return t.reservations
	}
	return nil
}

// unbind takes back an assumption, unless it has become true: a binding whose answer got lost shows in the watch. It
// tells whether it did.
func (s *scheduler) unbind(item *queue.Item) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, assumed := s.cluster.Placed(item.Pod.UID)
	if n == nil || !assumed {
		return false
	}
	s.release(item.Pod.UID)
	s.cluster.RemovePod(item.Pod.UID)
	s.roomOn(n, item.Pod)
	s.signal()
	now := s.newest(item.Pod.Pod)
	if now == nil || now.DeletionTimestamp != nil {
		return false // what became of it came while it counted as placed, when it was not looked at
	}
	item.Pod = snapshot.NewPod(now)
	s.queue.Failed(item, s.Clock.Now())
	return true
}

// newest is what the watch last told of a pod, or nil if it is gone.
func (s *scheduler) newest(p *corev1.Pod) *corev1.Pod {
	obj, exists, err := s.pods.GetByKey(p.Namespace + "/" + p.Name)
	if err != nil || !exists {
		return nil
	}
	if now, is := obj.(*corev1.Pod); is && now.UID == p.UID {
		return now
	}
	return nil
}

// report tells of a pod that could not be placed, by an event and in its status. A nominated node of nil leaves that
// field of the status alone.
func (s *scheduler) report(ctx context.Context, p *corev1.Pod, reason, message string, nominated *string) {
	s.of(p).recorder.Eventf(p, nil, corev1.EventTypeWarning, reasonFailedScheduling, "Scheduling", "%s", message)
	klog.FromContext(ctx).V(2).Info("Pod is unschedulable", "pod", klog.KObj(p), "message", message)
	s.setStatus(ctx, p, reason, message, nominated)
}

// setStatus writes the condition PodScheduled=False, if it does not say so already, and the nominated node.
func (s *scheduler) setStatus(ctx context.Context, p *corev1.Pod, reason, message string, nominated *string) {
	condition, changed := notScheduled(p, reason, message, metav1.NewTime(s.Clock.Now()))
	if !changed && (nominated == nil || *nominated == p.Status.NominatedNodeName) {
		return
	}
	status := map[string]any{"conditions": []corev1.PodCondition{condition}}
	if nominated != nil {
		status["nominatedNodeName"] = *nominated
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.UID}, "status": status})
	if err != nil {
		klog.FromContext(ctx).Error(err, "Encoding the status of an unschedulable pod", "pod", klog.KObj(p))
		return
	}
	_, err = s.client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		klog.FromContext(ctx).Error(err, "Writing the status of an unschedulable pod", "pod", klog.KObj(p))
	}
}

// notScheduled is the condition that a pod should have, and whether it differs from the one that it has.
func notScheduled(p *corev1.Pod, reason, message string, now metav1.Time) (_ corev1.PodCondition, changed bool) {
	want := corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: reason, Message: message,
		ObservedGeneration: p.Generation, LastTransitionTime: now,
	}
	for _, have := range p.Status.Conditions {
		if have.Type != corev1.PodScheduled {
			continue
		}
		if have.Status == want.Status {
			want.LastTransitionTime = have.LastTransitionTime
		}
		want.LastProbeTime = have.LastProbeTime
		return want, have != want
	}
	return want, true
}
