package ttlafterfinished

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestReconcile(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	finished := func(kind batchv1.JobConditionType, ago time.Duration) []batchv1.JobCondition {
		return []batchv1.JobCondition{{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-ago))}}
	}
	for _, tc := range []struct {
		name       string
		ttl        *int32
		conditions []batchv1.JobCondition
		gone       bool
		after      time.Duration
	}{
		{"no limit", nil, finished(batchv1.JobComplete, time.Hour), false, 0},
		{"runs", new(int32(0)), nil, false, 0},
		{"is about to fail", new(int32(0)), finished(batchv1.JobFailureTarget, time.Hour), false, 0},
		{"completed just now", new(int32(10)), finished(batchv1.JobComplete, 4*time.Second), false, 6 * time.Second},
		{"completed", new(int32(10)), finished(batchv1.JobComplete, 10*time.Second), true, 0},
		{"failed", new(int32(0)), finished(batchv1.JobFailed, 0), true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "j", UID: "j"},
				Spec: batchv1.JobSpec{TTLSecondsAfterFinished: tc.ttl}, Status: batchv1.JobStatus{Conditions: tc.conditions}}
			c := fake.NewClientBuilder().WithObjects(j).Build()
			r := &Reconciler{client: c, now: func() time.Time { return now }}
			res, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(j)})
			if err != nil || res.RequeueAfter != tc.after {
				t.Errorf("again after %v, error %v; want %v", res.RequeueAfter, err, tc.after)
			}
			err = c.Get(t.Context(), client.ObjectKeyFromObject(j), j)
			if gone := apierrors.IsNotFound(err); gone != tc.gone {
				t.Errorf("gone is %v (%v)", gone, err)
			}
		})
	}
}
