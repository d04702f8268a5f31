package scheduler

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/queue"
	"coracle.dev/coracle/scheduler/snapshot"
)

const reasonPreempted = "Preempted"

// failed decides, with the lock held, what follows for a pod that fits nowhere, and returns what is to be written.
func (s *scheduler) failed(ctx context.Context, item *queue.Item, f *framework.Failure) func() {
	p := item.Pod
	pr := s.of(p.Pod)
	var preemption *framework.Preemption
	if !pr.NeverPreempts {
		preemption, f.After = framework.Preempt(pr.Plugins, s.cluster, p, f, s.start, pr.Candidates, s.asked...)
	}
	var nominated *string
	var outbid []*snapshot.Pod
	switch had := s.cluster.NominatedNode(p.UID); {
	case preemption != nil:
		nominated = &preemption.Node
		outbid = s.cluster.Outbid(preemption.Node, p)
		for _, other := range outbid {
			s.cluster.Nominate(other, "")
		}
		s.cluster.Nominate(p, preemption.Node)
	case had != "" && !framework.Waits(s.cluster, p):
		nominated = new(string)
		s.cluster.Nominate(p, "")
	}
	s.queue.Unschedulable(item, f.Rejected, s.Clock.Now())
	return func() {
		s.report(ctx, p.Pod, corev1.PodReasonUnschedulable, f.Message(), nominated)
		if preemption != nil {
			s.evict(ctx, p.Pod, preemption)
		}
		for _, other := range outbid {
			s.withdraw(ctx, other.Pod)
		}
	}
}

// evict deletes the victims of a preemption.
func (s *scheduler) evict(ctx context.Context, p *corev1.Pod, preemption *framework.Preemption) {
	for _, v := range preemption.Victims {
		if v.DeletionTimestamp != nil {
			continue
		}
		if err := s.evictOne(ctx, p, v.Pod); err != nil {
			if ctx.Err() == nil && !apierrors.IsNotFound(err) {
				klog.FromContext(ctx).Error(err, "Preempting", "pod", klog.KObj(p), "victim", klog.KObj(v.Pod))
			}
			continue
		}
		klog.FromContext(ctx).Info("Preempted pod", "victim", klog.KObj(v.Pod), "for", klog.KObj(p), "node", preemption.Node)
		s.of(p).recorder.Eventf(v.Pod, p, corev1.EventTypeNormal, reasonPreempted, "Preempting", "Preempted by pod %v on node %v", p.UID, preemption.Node)
	}
}

func (s *scheduler) evictOne(ctx context.Context, p, v *corev1.Pod) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": v.UID},
		"status": map[string]any{"conditions": []corev1.PodCondition{{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonPreemptionByScheduler,
			Message:            p.Spec.SchedulerName + ": preempting to accommodate a higher priority pod",
			ObservedGeneration: v.Generation, LastTransitionTime: metav1.NewTime(s.Clock.Now()),
		}}},
	})
	if err != nil {
		return fmt.Errorf("encoding the condition: %w", err)
	}
	pods := s.client.CoreV1().Pods(v.Namespace)
	err = retry.OnError(retry.DefaultBackoff, apierrors.IsConflict, func() error {
		_, err := pods.Patch(ctx, v.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		return err
	})
	if err != nil {
		return fmt.Errorf("marking: %w", err)
	}
	return pods.Delete(ctx, v.Name, *metav1.NewPreconditionDeleteOptions(string(v.UID)))
}

// withdraw clears the nomination of a pod that a more important one has outbid.
func (s *scheduler) withdraw(ctx context.Context, p *corev1.Pod) {
	patch := []byte(`{"metadata":{"uid":"` + string(p.UID) + `"},"status":{"nominatedNodeName":null}}`)
	_, err := s.client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) {
		klog.FromContext(ctx).Error(err, "Withdrawing a nomination", "pod", klog.KObj(p))
	}
}
