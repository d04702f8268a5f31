package controller

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/examples/operator/api/v1alpha1"
)

// fieldManager is the operator's name in managed fields.
const fieldManager = "website-operator"

// Reconciler reconciles Websites.
type Reconciler struct{ client client.Client }

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler { return &Reconciler{client: mgr.GetClient()} }

// +kubebuilder:rbac:groups=examples.coracle.dev,resources=websites,verbs=get;list;watch
// +kubebuilder:rbac:groups=examples.coracle.dev,resources=websites/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=examples.coracle.dev,resources=websites/finalizers,verbs=update
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;update;patch
// +kubebuilder:rbac:groups="",resources=services;configmaps,verbs=get;list;watch;create;update;patch
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;create;update
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.Website{}).
		Owns(&appsv1.Deployment{}).
		Owns(&corev1.Service{}).
		Owns(&corev1.ConfigMap{}).
		Complete(r)
}

// Reconcile makes what a Website owns, and says in its status how far that is.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var w v1alpha1.Website
	if err := r.client.Get(ctx, req.NamespacedName, &w); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !w.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // garbage collection does the rest
	}
	p := plan(&w)
	for _, o := range []runtime.ApplyConfiguration{p.page, p.deployment, p.service} {
		if err := r.client.Apply(ctx, o, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
			return ctrl.Result{}, fmt.Errorf("applying what %s owns: %w", req, err)
		}
	}
	var d appsv1.Deployment
	if err := r.client.Get(ctx, req.NamespacedName, &d); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err) // the cache does not have it yet
	}
	before := w.DeepCopy()
	w.Status.Replicas = d.Status.AvailableReplicas
	meta.SetStatusCondition(&w.Status.Conditions, ready(&w, &d))
	if equality.Semantic.DeepEqual(before.Status, w.Status) {
		return ctrl.Result{}, nil
	}
	if err := r.client.Status().Patch(ctx, &w, client.MergeFrom(before)); err != nil {
		return ctrl.Result{}, fmt.Errorf("writing the status of %s: %w", req, client.IgnoreNotFound(err))
	}
	return ctrl.Result{}, nil
}
