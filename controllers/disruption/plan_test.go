package disruption

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func budget(least, most string) *policyv1.PodDisruptionBudget {
	b := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "b", Generation: 3}}
	if least != "" {
		b.Spec.MinAvailable = new(intstr.Parse(least))
	}
	if most != "" {
		b.Spec.MaxUnavailable = new(intstr.Parse(most))
	}
	return b
}

// pods reads pods from a text like "a b:unready c:deleted".
func pods(text string) []*corev1.Pod {
	var all []*corev1.Pod
	for _, word := range strings.Fields(text) {
		name, mark, _ := strings.Cut(word, ":")
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
		ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue}
		switch mark {
		case "unready":
			ready.Status = corev1.ConditionFalse
		case "deleted":
			p.DeletionTimestamp = &metav1.Time{Time: now}
		}
		p.Status.Conditions = []corev1.PodCondition{ready}
		all = append(all, p)
	}
	return all
}

func TestPlan(t *testing.T) {
	type counts struct{ Expected, Desired, Healthy, Allowed int32 }
	for _, tc := range []struct {
		name        string
		least, most string
		pods        string
		scale       int
		want        counts
	}{
		{"a number", "2", "", "a b c", 0, counts{3, 2, 3, 1}},
		{"just as many", "3", "", "a b c", 0, counts{3, 3, 3, 0}},
		{"fewer", "3", "", "a b:unready c", 0, counts{3, 3, 2, 0}},
		{"one on its way out", "1", "", "a b:deleted c", 0, counts{3, 1, 2, 1}},
		{"no pods", "1", "", "", 0, counts{0, 1, 0, 0}},
		{"nothing wanted of no pods", "0", "", "", 0, counts{0, 0, 0, 0}},
		{"a share, rounded up", "50%", "", "a b c", 3, counts{3, 2, 3, 1}},
		{"a share of more than there are", "50%", "", "a b c", 10, counts{10, 5, 3, 0}},
		{"at most a number", "", "1", "a b c", 3, counts{3, 2, 3, 1}},
		{"at most a number, some missing", "", "1", "a b", 3, counts{3, 2, 2, 0}},
		{"at most a share, rounded up", "", "30%", "a b c d", 4, counts{4, 2, 4, 2}},
		{"at most more than all", "", "9", "a", 1, counts{1, 0, 1, 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := plan(observed{budget: budget(tc.least, tc.most), pods: pods(tc.pods), scale: tc.scale}, now)
			st := a.status
			if diff := cmp.Diff(tc.want, counts{st.ExpectedPods, st.DesiredHealthy, st.CurrentHealthy, st.DisruptionsAllowed}); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			c := st.Conditions[0]
			if (c.Status == metav1.ConditionTrue) != (tc.want.Allowed > 0) || c.Reason != map[bool]string{true: "SufficientPods", false: "InsufficientPods"}[tc.want.Allowed > 0] {
				t.Errorf("condition is %+v", c)
			}
			if st.ObservedGeneration != 3 {
				t.Errorf("observed generation is %d", st.ObservedGeneration)
			}
		})
	}
}

// Evictions that were granted count until they are seen.
func TestPlanDisrupted(t *testing.T) {
	b := budget("1", "")
	b.Status.DisruptedPods = map[string]metav1.Time{
		"fresh": metav1.NewTime(now.Add(-30 * time.Second)), "seen:deleted": metav1.NewTime(now), "seen": metav1.NewTime(now),
		"vain": metav1.NewTime(now.Add(-3 * time.Minute)), "gone": metav1.NewTime(now),
	}
	a := plan(observed{budget: b, pods: pods("fresh seen:deleted vain other")}, now)
	if _, kept := a.status.DisruptedPods["fresh"]; len(a.status.DisruptedPods) != 1 || !kept {
		t.Errorf("kept are %v", a.status.DisruptedPods)
	}
	if len(a.notDeleted) != 1 || a.notDeleted[0].Name != "vain" {
		t.Errorf("not deleted are %v", a.notDeleted)
	}
	if a.status.CurrentHealthy != 2 || a.status.DisruptionsAllowed != 1 || a.after != 90*time.Second {
		t.Errorf("status is %+v, looked at again after %v", a.status, a.after)
	}
}

func TestPlanFails(t *testing.T) {
	b := budget("", "1")
	b.Status.DisruptionsAllowed = 5
	a := plan(observed{budget: b, pods: pods("a"), failure: errors.New("found no controllers for pod \"a\"")}, now)
	c := a.status.Conditions[0]
	if a.status.DisruptionsAllowed != 0 || c.Status != metav1.ConditionFalse || c.Reason != "SyncFailed" || !strings.Contains(c.Message, "no controllers") {
		t.Errorf("status is %+v", a.status)
	}
}

func TestStale(t *testing.T) {
	p := pods("a")[0]
	if is, left := stale(p, now); is || left != 0 {
		t.Error("a pod that nothing disrupts is stale")
	}
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-time.Minute))})
	if is, left := stale(p, now); is || left != time.Minute {
		t.Errorf("after a minute: %v, %v", is, left)
	}
	if is, _ := stale(p, now.Add(2*time.Minute)); !is {
		t.Error("after three minutes it is not stale")
	}
	p.DeletionTimestamp = &metav1.Time{Time: now}
	if is, _ := stale(p, now.Add(2*time.Minute)); is {
		t.Error("a pod that is being deleted is stale")
	}
}
