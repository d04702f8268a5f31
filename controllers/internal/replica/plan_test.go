package replica

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestSurplus(t *testing.T) {
	for _, tc := range []struct {
		want   int32
		active int
		n      int
	}{{3, 3, 0}, {3, 1, -2}, {1, 3, 2}, {0, 2, 2}, {1000, 0, -burst}, {0, 1000, burst}} {
		if got := surplus(Set{Replicas: tc.want}, tc.active); got != tc.n {
			t.Errorf("%d of %d: surplus %d, not %d", tc.active, tc.want, got, tc.n)
		}
	}
}

// pod is ready since the given time ago; negative: it is not.
func pod(i int, label string, readyFor time.Duration) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i), Labels: map[string]string{"app": label}}}
	if readyFor >= 0 {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-readyFor))}}
	}
	return p
}

func TestStatus(t *testing.T) {
	set := Set{
		Replicas: 4, MinReadySeconds: 10, Generation: 7,
		Template: &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}},
		Status:   appsv1.ReplicaSetStatus{Replicas: 9, ReadyReplicas: 9, AvailableReplicas: 9, FullyLabeledReplicas: 9},
	}
	pods := []*corev1.Pod{pod(1, "web", 10*time.Second), pod(2, "web", 4*time.Second), pod(3, "web", time.Second), pod(4, "other", -1)}
	got, next := status(set, observation{pods, 2, true}, nil, now)
	want := appsv1.ReplicaSetStatus{Replicas: 4, FullyLabeledReplicas: 3, ReadyReplicas: 3, AvailableReplicas: 1,
		TerminatingReplicas: new(int32(2)), ObservedGeneration: 7}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if wait := next.Sub(now); wait != 6*time.Second {
		t.Errorf("changes in %v, not 6s, when the second pod becomes available", wait)
	}
	if got, _ := status(set, observation{pods, 2, false}, nil, now); got.ObservedGeneration != 0 {
		t.Errorf("the generation is called observed, though the cache has yet to show what was done")
	}
	set.MinReadySeconds = 0
	if got, next := status(set, observation{pods, 0, true}, nil, now); got.AvailableReplicas != 3 || !next.IsZero() {
		t.Errorf("without minReadySeconds %d are available, next change %v", got.AvailableReplicas, next)
	}
}

func TestStatusFailure(t *testing.T) {
	set := Set{Replicas: 2, Template: &corev1.PodTemplateSpec{}}
	st, _ := status(set, observation{nil, 0, true}, errors.New("quota"), now)
	want := []appsv1.ReplicaSetCondition{{Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue,
		Reason: "FailedCreate", Message: "quota", LastTransitionTime: metav1.NewTime(now)}}
	if diff := cmp.Diff(want, st.Conditions); diff != "" {
		t.Errorf("conditions after a failure (-want +got):\n%s", diff)
	}
	set.Status = st
	later, _ := status(set, observation{nil, 0, true}, errors.New("quota still"), now.Add(time.Hour))
	if diff := cmp.Diff(want, later.Conditions); diff != "" {
		t.Errorf("conditions after another failure (-want +got):\n%s", diff)
	}
	healed, _ := status(set, observation{nil, 0, true}, nil, now)
	if len(healed.Conditions) != 0 {
		t.Errorf("conditions after success: %v", healed.Conditions)
	}
	three := []*corev1.Pod{pod(1, "a", -1), pod(2, "a", -1), pod(3, "a", -1)}
	if st, _ := status(Set{Replicas: 2, Template: &corev1.PodTemplateSpec{}}, observation{three, 0, true}, errors.New("x"), now); st.Conditions[0].Reason != "FailedDelete" {
		t.Errorf("reason is %s", st.Conditions[0].Reason)
	}
}
