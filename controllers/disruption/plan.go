package disruption

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"coracle.dev/coracle/controllers/internal/podstatus"
)

// deletionTimeout is how long a granted eviction counts without being seen.
const deletionTimeout = 2 * time.Minute

// observed is what a pass knows. Nothing of it is changed.
type observed struct {
	budget *policyv1.PodDisruptionBudget
	pods   []*corev1.Pod
	// scale is how many pods the owners of these pods want. It is not looked at
	// where the budget is a number of pods that are to be available.
	scale int
	// failure is why the scale cannot be told.
	failure error
}

// actions are what a pass does.
type actions struct {
	status policyv1.PodDisruptionBudgetStatus
	// notDeleted are pods whose eviction was granted in vain.
	notDeleted []*corev1.Pod
	// after is when the budget is to be looked at again; zero: on events.
	after time.Duration
}

// plan computes the status of a budget.
func plan(o observed, now time.Time) actions {
	var a actions
	b := o.budget
	a.status = *b.Status.DeepCopy()
	if o.failure != nil {
		a.status.DisruptionsAllowed = 0
		a.status.ObservedGeneration = b.Generation
		setCondition(&a.status, b.Generation, false, policyv1.SyncFailedReason, o.failure.Error(), now)
		return a
	}
	expected, desired, err := wanted(b, len(o.pods), o.scale)
	if err != nil {
		o.failure = err
		return plan(o, now)
	}
	a.disrupted(o, now)
	healthy := 0
	for _, p := range o.pods {
		if _, disrupted := a.status.DisruptedPods[p.Name]; !disrupted && p.DeletionTimestamp == nil && podstatus.Ready(p) {
			healthy++
		}
	}
	allowed := healthy - desired
	if expected <= 0 || allowed < 0 {
		allowed = 0
	}
	a.status.ExpectedPods, a.status.DesiredHealthy = int32(expected), int32(desired)
	a.status.CurrentHealthy, a.status.DisruptionsAllowed = int32(healthy), int32(allowed)
	a.status.ObservedGeneration = b.Generation
	reason := policyv1.InsufficientPodsReason
	if allowed > 0 {
		reason = policyv1.SufficientPodsReason
	}
	setCondition(&a.status, b.Generation, allowed > 0, reason, "", now)
	return a
}

// wanted is how many pods there are to be, and how many of them healthy.
func wanted(b *policyv1.PodDisruptionBudget, pods, scale int) (expected, desired int, err error) {
	switch least, most := b.Spec.MinAvailable, b.Spec.MaxUnavailable; {
	case most != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(most, scale, true)
		if err != nil {
			return 0, 0, fmt.Errorf("reading maxUnavailable: %w", err)
		}
		return scale, max(0, scale-n), nil
	case least != nil && least.Type == intstr.Int:
		return pods, least.IntValue(), nil
	case least != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(least, scale, true)
		if err != nil {
			return 0, 0, fmt.Errorf("reading minAvailable: %w", err)
		}
		return scale, n, nil
	}
	return 0, 0, nil
}

// byScale tells whether the scale of the pods' owners matters to a budget.
func byScale(b *policyv1.PodDisruptionBudget) bool {
	return b.Spec.MaxUnavailable != nil || b.Spec.MinAvailable != nil && b.Spec.MinAvailable.Type == intstr.String
}

// disrupted keeps the granted evictions that have yet to be seen.
func (a *actions) disrupted(o observed, now time.Time) {
	granted := a.status.DisruptedPods
	a.status.DisruptedPods = nil
	for _, p := range o.pods {
		at, ok := granted[p.Name]
		if !ok || p.DeletionTimestamp != nil {
			continue
		}
		left := at.Add(deletionTimeout).Sub(now)
		if left <= 0 {
			a.notDeleted = append(a.notDeleted, p)
			continue
		}
		if a.after == 0 || left < a.after {
			a.after = left
		}
		if a.status.DisruptedPods == nil {
			a.status.DisruptedPods = map[string]metav1.Time{}
		}
		a.status.DisruptedPods[p.Name] = at
	}
}

func setCondition(st *policyv1.PodDisruptionBudgetStatus, generation int64, allowed bool, reason, message string, now time.Time) {
	status := metav1.ConditionFalse
	if allowed {
		status = metav1.ConditionTrue
	}
	st.Conditions = slices.Clone(st.Conditions)
	meta.SetStatusCondition(&st.Conditions, metav1.Condition{Type: policyv1.DisruptionAllowedCondition, Status: status,
		Reason: reason, Message: message, ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(now)})
}

// stale tells whether a pod has been about to be disrupted for so long that it
// will not be, and if not, when that is to be looked at again.
func stale(p *corev1.Pod, now time.Time) (bool, time.Duration) {
	c := podstatus.Condition(p, corev1.DisruptionTarget)
	if c == nil || c.Status != corev1.ConditionTrue || p.DeletionTimestamp != nil || podstatus.Finished(p) {
		return false, 0
	}
	if left := c.LastTransitionTime.Add(deletionTimeout).Sub(now); left > 0 {
		return false, left
	}
	return true, 0
}
