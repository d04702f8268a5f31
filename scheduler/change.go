package scheduler

import (
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// nodeEvent is what a newer state of a node means to waiting pods. A heartbeat means nothing.
func nodeEvent(old, o *corev1.Node) framework.Event {
	if old == nil {
		return framework.NodeAdded
	}
	var e framework.Event
	if !apiequality.Semantic.DeepEqual(old.Status.Allocatable, o.Status.Allocatable) {
		e |= framework.NodeAllocatable
	}
	if !maps.Equal(old.Labels, o.Labels) {
		e |= framework.NodeLabels
	}
	if old.Spec.Unschedulable != o.Spec.Unschedulable || !apiequality.Semantic.DeepEqual(old.Spec.Taints, o.Spec.Taints) {
		e |= framework.NodeTaints
	}
	return e
}

// podEvent is what a newer state of a bound pod means to waiting ones. had is what the snapshot held of it.
func podEvent(old *corev1.Pod, had, pod *snapshot.Pod) framework.Event {
	if had == nil {
		return framework.PodAdded
	}
	var e framework.Event
	if old == nil || old.Spec.NodeName == "" {
		e |= framework.PodAdded // it was assumed: who waits for it did not hear of it
	}
	if !maps.Equal(had.Labels, pod.Labels) || (had.DeletionTimestamp == nil) != (pod.DeletionTimestamp == nil) {
		e |= framework.PodLabels
	}
	if smaller(had.Requests, pod.Requests) {
		e |= framework.PodRemoved
	}
	return e
}

func smaller(had, has snapshot.Resources) bool {
	for name, v := range had.Scalar {
		if has.Scalar[name] < v {
			return true
		}
	}
	return has.MilliCPU < had.MilliCPU || has.Memory < had.Memory || has.EphemeralStorage < had.EphemeralStorage
}

// podMatters tells whether a change of a waiting pod can change a decision.
func podMatters(old, p *corev1.Pod) bool {
	return !maps.Equal(old.Labels, p.Labels) || !apiequality.Semantic.DeepEqual(&old.Spec, &p.Spec) ||
		!apiequality.Semantic.DeepEqual(old.Status.ResourceClaimStatuses, p.Status.ResourceClaimStatuses)
}

// ownerSelector selects the pods of a controller.
func ownerSelector(o metav1.Object) labels.Selector {
	var s *metav1.LabelSelector
	switch o := o.(type) {
	case *corev1.ReplicationController:
		return labels.SelectorFromSet(o.Spec.Selector)
	case *appsv1.ReplicaSet:
		s = o.Spec.Selector
	case *appsv1.StatefulSet:
		s = o.Spec.Selector
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return nil
	}
	return selector
}

func budget(o *policyv1.PodDisruptionBudget) snapshot.Budget {
	b := snapshot.Budget{Namespace: o.Namespace, Name: o.Name, Allowed: int(o.Status.DisruptionsAllowed), Disrupted: map[string]bool{}}
	var err error
	if b.Selector, err = metav1.LabelSelectorAsSelector(o.Spec.Selector); err != nil {
		b.Selector = labels.Nothing()
	}
	for name := range o.Status.DisruptedPods {
		b.Disrupted[name] = true
	}
	return b
}
