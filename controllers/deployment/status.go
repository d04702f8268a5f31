package deployment

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons of the conditions, as Kubernetes spells them.
const (
	reasonCreated     = "NewReplicaSetCreated"
	reasonFound       = "FoundNewReplicaSet"
	reasonUpdated     = "ReplicaSetUpdated"
	reasonComplete    = "NewReplicaSetAvailable"
	reasonTimedOut    = "ProgressDeadlineExceeded"
	reasonCreateError = "ReplicaSetCreateError"
	reasonPaused      = "DeploymentPaused"
	reasonResumed     = "DeploymentResumed"
	reasonAvailable   = "MinimumReplicasAvailable"
	reasonUnavailable = "MinimumReplicasUnavailable"
)

// notePause notes in the conditions that the deployment was paused or resumed,
// so that the time it stood still does not count towards the deadline.
func (r *rollout) notePause() {
	if !hasDeadline(r.d) {
		return
	}
	c := condition(&r.d.Status, appsv1.DeploymentProgressing)
	if c != nil && c.Reason == reasonTimedOut {
		return
	}
	wasPaused := c != nil && c.Reason == reasonPaused
	if r.d.Spec.Paused && !wasPaused {
		r.setProgressing(corev1.ConditionUnknown, reasonPaused, "Deployment is paused")
	} else if !r.d.Spec.Paused && wasPaused {
		r.setProgressing(corev1.ConditionUnknown, reasonResumed, "Deployment is resumed")
	}
}

func (r *rollout) createdNew() {
	if hasDeadline(r.d) {
		r.setProgressing(corev1.ConditionTrue, reasonCreated, fmt.Sprintf("Created new replica set %q", r.new.Name))
	}
}

func (r *rollout) foundNew() {
	if hasDeadline(r.d) && condition(&r.d.Status, appsv1.DeploymentProgressing) == nil {
		r.setProgressing(corev1.ConditionTrue, reasonFound, fmt.Sprintf("Found new replica set %q", r.new.Name))
	}
}

func (r *rollout) setProgressing(status corev1.ConditionStatus, reason, message string) {
	setCondition(&r.d.Status, newCondition(appsv1.DeploymentProgressing, status, reason, message, r.now))
}

// currentStatus is the status as the replica sets' own statuses make it.
func (r *rollout) currentStatus() appsv1.DeploymentStatus {
	all := r.all()
	st := appsv1.DeploymentStatus{
		ObservedGeneration: r.d.Generation,
		CollisionCount:     r.d.Status.CollisionCount,
		Conditions:         slices.Clone(r.d.Status.Conditions),
	}
	for _, rs := range all {
		st.Replicas += rs.Status.Replicas
		st.ReadyReplicas += rs.Status.ReadyReplicas
		st.AvailableReplicas += rs.Status.AvailableReplicas
		if rs.Status.TerminatingReplicas != nil {
			if st.TerminatingReplicas == nil {
				st.TerminatingReplicas = new(int32)
			}
			*st.TerminatingReplicas += *rs.Status.TerminatingReplicas
		}
	}
	if r.new != nil {
		st.UpdatedReplicas = r.new.Status.Replicas
	}
	st.UnavailableReplicas = max(0, totalReplicas(all)-st.AvailableReplicas)
	if st.AvailableReplicas >= *r.d.Spec.Replicas-maxUnavailable(r.d) {
		setCondition(&st, newCondition(appsv1.DeploymentAvailable, corev1.ConditionTrue, reasonAvailable,
			"Deployment has minimum availability.", r.now))
	} else {
		setCondition(&st, newCondition(appsv1.DeploymentAvailable, corev1.ConditionFalse, reasonUnavailable,
			"Deployment does not have minimum availability.", r.now))
	}
	return st
}

// progress computes the status of a rollout under way: whether it is complete,
// moving, or has stood still beyond its deadline.
func (r *rollout) progress() {
	st := r.currentStatus()
	current := condition(&r.d.Status, appsv1.DeploymentProgressing)
	if !hasDeadline(r.d) {
		removeCondition(&st, appsv1.DeploymentProgressing)
	} else if done := st.Replicas == st.UpdatedReplicas && current != nil && current.Reason == reasonComplete; !done {
		r.judge(&st, current)
	}
	if failure := replicaFailure(r.new, r.old); failure != nil {
		setCondition(&st, *failure)
	} else {
		removeCondition(&st, appsv1.DeploymentReplicaFailure)
	}
	r.out.status = st
	r.out.after = untilDeadline(r.d, &st, r.now)
}

func (r *rollout) judge(st *appsv1.DeploymentStatus, current *appsv1.DeploymentCondition) {
	subject := fmt.Sprintf("Deployment %q", r.d.Name)
	if r.new != nil {
		subject = fmt.Sprintf("ReplicaSet %q", r.new.Name)
	}
	switch {
	case complete(r.d, st):
		setCondition(st, newCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonComplete,
			subject+" has successfully progressed.", r.now))
	case moved(&r.d.Status, st):
		c := newCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonUpdated, subject+" is progressing.", r.now)
		// Replaced even if alike: its update time is the last sign of progress.
		if current != nil && current.Status == corev1.ConditionTrue {
			c.LastTransitionTime = current.LastTransitionTime
		}
		removeCondition(st, appsv1.DeploymentProgressing)
		setCondition(st, c)
	case timedOut(r.d, st, r.now):
		setCondition(st, newCondition(appsv1.DeploymentProgressing, corev1.ConditionFalse, reasonTimedOut,
			subject+" has timed out progressing.", r.now))
	}
}

// complete tells whether all pods are of the new template and available, and
// none of an old one is left.
func complete(d *appsv1.Deployment, st *appsv1.DeploymentStatus) bool {
	want := *d.Spec.Replicas
	return st.UpdatedReplicas == want && st.Replicas == want && st.AvailableReplicas == want &&
		st.ObservedGeneration >= d.Generation
}

func moved(before, after *appsv1.DeploymentStatus) bool {
	return after.UpdatedReplicas > before.UpdatedReplicas ||
		after.Replicas-after.UpdatedReplicas < before.Replicas-before.UpdatedReplicas ||
		after.ReadyReplicas > before.ReadyReplicas ||
		after.AvailableReplicas > before.AvailableReplicas
}

func hasDeadline(d *appsv1.Deployment) bool {
	return d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds != unlimited
}

func timedOut(d *appsv1.Deployment, st *appsv1.DeploymentStatus, now time.Time) bool {
	c := condition(st, appsv1.DeploymentProgressing)
	switch {
	case c == nil || c.Reason == reasonComplete:
		return false
	case c.Reason == reasonTimedOut:
		return true
	}
	return c.LastUpdateTime.Add(time.Duration(*d.Spec.ProgressDeadlineSeconds) * time.Second).Before(now)
}

// untilDeadline is when a rollout that makes no progress is to be called timed
// out; zero if it cannot be. Condition times have whole seconds, hence the one
// more.
func untilDeadline(d *appsv1.Deployment, st *appsv1.DeploymentStatus, now time.Time) time.Duration {
	c := condition(st, appsv1.DeploymentProgressing)
	if !hasDeadline(d) || c == nil || c.Reason == reasonTimedOut || c.Reason == reasonComplete || complete(d, st) {
		return 0
	}
	deadline := c.LastUpdateTime.Add(time.Duration(*d.Spec.ProgressDeadlineSeconds+1) * time.Second)
	return max(time.Second, deadline.Sub(now))
}

// replicaFailure passes on why a set cannot make pods, the new set's reason
// before that of any other.
func replicaFailure(newest *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) *appsv1.DeploymentCondition {
	sets := old
	if newest != nil {
		sets = append([]*appsv1.ReplicaSet{newest}, old...)
	}
	for _, rs := range sets {
		for _, c := range rs.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure {
				return &appsv1.DeploymentCondition{
					Type: appsv1.DeploymentReplicaFailure, Status: c.Status, Reason: c.Reason, Message: c.Message,
					LastTransitionTime: c.LastTransitionTime, LastUpdateTime: c.LastTransitionTime,
				}
			}
		}
	}
	return nil
}

func newCondition(t appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string, now time.Time) appsv1.DeploymentCondition {
	return appsv1.DeploymentCondition{
		Type: t, Status: status, Reason: reason, Message: message,
		LastUpdateTime: metav1.NewTime(now), LastTransitionTime: metav1.NewTime(now),
	}
}

func condition(st *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range st.Conditions {
		if st.Conditions[i].Type == t {
			return &st.Conditions[i]
		}
	}
	return nil
}

// setCondition changes nothing if status and reason are as they were.
func setCondition(st *appsv1.DeploymentStatus, c appsv1.DeploymentCondition) {
	current := condition(st, c.Type)
	if current != nil && current.Status == c.Status && current.Reason == c.Reason {
		return
	}
	if current != nil && current.Status == c.Status {
		c.LastTransitionTime = current.LastTransitionTime
	}
	removeCondition(st, c.Type)
	st.Conditions = append(st.Conditions, c)
}

func removeCondition(st *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) {
	var kept []appsv1.DeploymentCondition
	for _, c := range st.Conditions {
		if c.Type != t {
			kept = append(kept, c)
		}
	}
	st.Conditions = kept
}
