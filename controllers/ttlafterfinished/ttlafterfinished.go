// Package ttlafterfinished deletes Jobs some time after they finished.
//
// It watches Jobs, and deletes those with spec.ttlSecondsAfterFinished when that
// many seconds have passed since they completed or failed; their pods go with
// them. It owns nothing and writes no status.
//
// Invariant: a Job is deleted only in the version that was found to have
// expired, so that one whose time is extended meanwhile stays.
package ttlafterfinished

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
)

// Reconciler reconciles finished Jobs.
type Reconciler struct {
	client client.Client
	now    func() time.Time
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{client: mgr.GetClient(), now: moment.Now(mgr)}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("ttl-after-finished-controller").
		For(&batchv1.Job{}).
		WithOptions(outcome.Options(5, mgr)).
		Complete(r)
}

// Reconcile deletes one job if its time has come.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	j := &batchv1.Job{}
	if err := r.client.Get(ctx, req.NamespacedName, j); err != nil {
		return outcome.Of(ctrl.Result{}, client.IgnoreNotFound(err))
	}
	at, ok := expiry(j)
	if !ok {
		return ctrl.Result{}, nil
	}
	if left := at.Sub(r.now()); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	err := r.client.Delete(ctx, j, client.PropagationPolicy(metav1.DeletePropagationForeground),
		client.Preconditions{UID: &j.UID, ResourceVersion: &j.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return outcome.Of(ctrl.Result{}, fmt.Errorf("deleting the job: %w", err))
	}
	klog.FromContext(ctx).V(0).Info("Deleted an expired job", "finished", at)
	return ctrl.Result{}, nil
}

// expiry is when the job is to be deleted, if ever.
func expiry(j *batchv1.Job) (time.Time, bool) {
	if j.Spec.TTLSecondsAfterFinished == nil || j.DeletionTimestamp != nil {
		return time.Time{}, false
	}
	for _, c := range j.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue && !c.LastTransitionTime.IsZero() {
			return c.LastTransitionTime.Add(time.Duration(*j.Spec.TTLSecondsAfterFinished) * time.Second), true
		}
	}
	return time.Time{}, false
}
