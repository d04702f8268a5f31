// Package vacprotection keeps VolumeAttributesClasses that volumes have, or that
// claims ask for, from going away.
//
// It watches classes, claims and volumes, and owns the finalizer
// kubernetes.io/vac-protection of classes: every class has it until it is deleted
// and nothing names it. The finalizer is removed only after the API server
// itself has said so.
package vacprotection

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/protection"
)

// Finalizer is what protects a class.
const Finalizer = "kubernetes.io/vac-protection"

// Reconciler reconciles classes.
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
	return ctrl.NewControllerManagedBy(mgr).
		Named("volumeattributesclass-protection-controller").
		For(&storagev1.VolumeAttributesClass{}).
		Watches(&corev1.PersistentVolumeClaim{}, freed).
		Watches(&corev1.PersistentVolume{}, freed).
		WithOptions(outcome.Options(1)).
		Complete(r)
}

// freed names the classes that a claim or volume named and does not any more.
var freed = handler.Funcs{
	UpdateFunc: func(_ context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		now := classes(e.ObjectNew)
		enqueue(q, slices.DeleteFunc(classes(e.ObjectOld), func(name string) bool { return slices.Contains(now, name) }))
	},
	DeleteFunc: func(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		enqueue(q, classes(e.Object))
	},
}

func enqueue(q workqueue.TypedRateLimitingInterface[reconcile.Request], names []string) {
	for _, name := range names {
		q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
	}
}

// classes are the classes that a claim or volume names.
func classes(o client.Object) (out []string) {
	add := func(name *string) {
		if name != nil && *name != "" {
			out = append(out, *name)
		}
	}
	switch o := o.(type) {
	case *corev1.PersistentVolume:
		add(o.Spec.VolumeAttributesClassName)
	case *corev1.PersistentVolumeClaim:
		add(o.Spec.VolumeAttributesClassName)
		add(o.Status.CurrentVolumeAttributesClassName)
		if m := o.Status.ModifyVolumeStatus; m != nil {
			add(&m.TargetVolumeAttributesClassName)
		}
	}
	return out
}

// Reconcile looks at the finalizer of one class.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	class := &storagev1.VolumeAttributesClass{}
	if err := r.client.Get(ctx, req.NamespacedName, class); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return outcome.Of(ctrl.Result{}, protection.Keep(ctx, r.client, class, Finalizer, func() (bool, error) { return r.used(ctx, class.Name) }))
}

func (r *Reconciler) used(ctx context.Context, name string) (bool, error) {
	var volumes corev1.PersistentVolumeList
	if err := r.live.List(ctx, &volumes); err != nil {
		return false, err
	}
	for i := range volumes.Items {
		if slices.Contains(classes(&volumes.Items[i]), name) {
			return true, nil
		}
	}
	var claims corev1.PersistentVolumeClaimList
	if err := r.live.List(ctx, &claims); err != nil {
		return false, err
	}
	return slices.ContainsFunc(claims.Items, func(c corev1.PersistentVolumeClaim) bool { return slices.Contains(classes(&c), name) }), nil
}
