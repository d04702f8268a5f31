// Package pvcprotection keeps claims that pods use from going away.
//
// It watches claims and pods, and owns the finalizer kubernetes.io/pvc-protection
// of claims: every claim has it until it is deleted and no pod uses it. A pod
// uses a claim from when it has a node until it has finished or is gone; the
// claim of an ephemeral volume is used by the pod that it was made for alone.
//
// Invariant: the finalizer is removed only after the API server itself, not the
// cache, has said that no pod uses the claim.
package pvcprotection

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/storage/ephemeral"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/podstatus"
	"coracle.dev/coracle/controllers/internal/protection"
)

// Finalizer is what protects a claim.
const Finalizer = "kubernetes.io/pvc-protection"

// Reconciler reconciles claims.
type Reconciler struct {
	client client.Client
	live   client.Reader
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{client: mgr.GetClient(), live: mgr.GetAPIReader()}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := index.ByClaim(mgr); err != nil {
		return err
	}
	ends := predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return podstatus.Finished(e.Object.(*corev1.Pod)) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetUID() != e.ObjectNew.GetUID() || podstatus.Finished(e.ObjectNew.(*corev1.Pod)) && !podstatus.Finished(e.ObjectOld.(*corev1.Pod))
		},
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("persistentvolumeclaim-protection-controller").
		For(&corev1.PersistentVolumeClaim{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(claims), builder.WithPredicates(ends)).
		WithOptions(outcome.Options(4)).
		Complete(r)
}

func claims(_ context.Context, o client.Object) (out []reconcile.Request) {
	for _, name := range index.ClaimNames(o.(*corev1.Pod)) {
		out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}})
	}
	return out
}

// Reconcile looks at the finalizer of one claim.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	c := &corev1.PersistentVolumeClaim{}
	if err := r.client.Get(ctx, req.NamespacedName, c); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return outcome.Of(ctrl.Result{}, protection.Keep(ctx, r.client, c, Finalizer, func() (bool, error) { return r.used(ctx, c) }))
}

// used asks the cache first, since most claims in use are in use there.
func (r *Reconciler) used(ctx context.Context, c *corev1.PersistentVolumeClaim) (bool, error) {
	pods, err := index.PodsWithClaim(ctx, r.client, client.ObjectKeyFromObject(c))
	if err != nil {
		return false, err
	}
	for _, p := range pods {
		if uses(p, c) {
			return true, nil
		}
	}
	var all corev1.PodList
	if err := r.live.List(ctx, &all, client.InNamespace(c.Namespace)); err != nil {
		return false, err
	}
	for i := range all.Items {
		if uses(&all.Items[i], c) {
			return true, nil
		}
	}
	return false, nil
}

func uses(p *corev1.Pod, c *corev1.PersistentVolumeClaim) bool {
	if p.Spec.NodeName == "" || podstatus.Finished(p) {
		return false
	}
	for i := range p.Spec.Volumes {
		switch v := &p.Spec.Volumes[i]; {
		case v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == c.Name:
			return true
		case v.Ephemeral != nil && ephemeral.VolumeClaimName(p, v) == c.Name && metav1.IsControlledBy(c, p):
			return true
		}
	}
	return false
}
