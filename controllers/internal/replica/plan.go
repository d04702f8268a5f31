package replica

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"coracle.dev/coracle/controllers/internal/podstatus"
)

// burst is the most pods that one pass creates or deletes.
const burst = 500

// Set is what there is to know of an owner of replicas, whatever its kind.
type Set struct {
	Replicas        int32
	MinReadySeconds int32
	Selector        labels.Selector
	Template        *corev1.PodTemplateSpec
	Generation      int64
	Status          appsv1.ReplicaSetStatus
}

// surplus is how many active pods there are beyond those asked for, within the
// bounds of one pass; negative where pods are missing.
func surplus(s Set, active int) int {
	return min(burst, max(-burst, active-int(s.Replicas)))
}

// observation is what a pass has seen of an owner's pods.
type observation struct {
	active      []*corev1.Pod
	terminating int
	// settled tells that what the owner's controller did last is among it.
	settled bool
}

// status is the new status of a set of which the given was seen. The second
// result is when it will next change by the mere passing of time, or zero. As
// long as the cache has yet to show what was done, the generation is not called
// observed: the pods counted may be gone.
func status(s Set, o observation, failure error, now time.Time) (appsv1.ReplicaSetStatus, time.Time) {
	active, terminating := o.active, o.terminating
	st := *s.Status.DeepCopy()
	st.Replicas = int32(len(active))
	st.FullyLabeledReplicas, st.ReadyReplicas, st.AvailableReplicas = 0, 0, 0
	st.TerminatingReplicas = new(int32(terminating))
	if o.settled {
		st.ObservedGeneration = s.Generation
	}

	var next time.Time
	template := labels.Set(s.Template.Labels).AsSelectorPreValidated()
	for _, p := range active {
		if template.Matches(labels.Set(p.Labels)) {
			st.FullyLabeledReplicas++
		}
		if !podstatus.Ready(p) {
			continue
		}
		st.ReadyReplicas++
		available, at := podstatus.Available(p, s.MinReadySeconds, now)
		if available {
			st.AvailableReplicas++
		} else if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	st.Conditions = failureCondition(st.Conditions, failure, len(active)-int(s.Replicas), now)
	return st, next
}

// failureCondition keeps the condition ReplicaFailure while there is a failure.
// Its time is that of the first one.
func failureCondition(conditions []appsv1.ReplicaSetCondition, failure error, diff int, now time.Time) []appsv1.ReplicaSetCondition {
	var kept []appsv1.ReplicaSetCondition
	for _, c := range conditions {
		if c.Type != appsv1.ReplicaSetReplicaFailure {
			kept = append(kept, c)
		} else if failure != nil {
			return conditions
		}
	}
	if failure == nil {
		return kept
	}
	reason := "FailedCreate"
	if diff > 0 {
		reason = "FailedDelete"
	}
	return append(kept, appsv1.ReplicaSetCondition{
		Type:               appsv1.ReplicaSetReplicaFailure,
		Status:             corev1.ConditionTrue,
		Reason:             reason,
		Message:            failure.Error(),
		LastTransitionTime: metav1.NewTime(now),
	})
}
