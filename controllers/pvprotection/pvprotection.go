// Package pvprotection keeps volumes that are bound to a claim from going away.
//
// It watches volumes, and owns their finalizer kubernetes.io/pv-protection:
// every volume has it until it is deleted and its phase is not Bound.
package pvprotection

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/protection"
)

// Finalizer is what protects a volume.
const Finalizer = "kubernetes.io/pv-protection"

// Reconciler reconciles volumes.
type Reconciler struct{ client client.Client }

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler { return &Reconciler{mgr.GetClient()} }

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("persistentvolume-protection-controller").
		For(&corev1.PersistentVolume{}).
		WithOptions(outcome.Options(2)).
		Complete(r)
}

// Reconcile looks at the finalizer of one volume. That the volume is written in
// the version that was read keeps one that becomes bound meanwhile.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	v := &corev1.PersistentVolume{}
	if err := r.client.Get(ctx, req.NamespacedName, v); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	bound := func() (bool, error) { return v.Status.Phase == corev1.VolumeBound, nil }
	return outcome.Of(ctrl.Result{}, protection.Keep(ctx, r.client, v, Finalizer, bound))
}
