// Package serviceaccount keeps a service account "default" in every namespace.
//
// It watches namespaces and service accounts, and creates the account where an
// active namespace has none. It never changes an account, and never deletes
// one.
package serviceaccount

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/outcome"
)

// Name is the name of the account.
const Name = "default"

// Reconciler reconciles namespaces.
type Reconciler struct {
	client client.Client
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler { return &Reconciler{client: mgr.GetClient()} }

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("serviceaccount-controller").
		For(&corev1.Namespace{}).
		Watches(&corev1.ServiceAccount{}, handler.EnqueueRequestsFromMapFunc(namespaceOf), builder.WithPredicates(deletions)).
		WithOptions(outcome.Options(2)).
		Complete(r)
}

// Reconcile creates the account of one namespace.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var ns corev1.Namespace
	if err := r.client.Get(ctx, req.NamespacedName, &ns); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if ns.DeletionTimestamp != nil || ns.Status.Phase == corev1.NamespaceTerminating {
		return ctrl.Result{}, nil
	}
	var account corev1.ServiceAccount
	err := r.client.Get(ctx, types.NamespacedName{Namespace: ns.Name, Name: Name}, &account)
	if err == nil || !apierrors.IsNotFound(err) {
		return ctrl.Result{}, err
	}
	account = corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: Name}}
	err = r.client.Create(ctx, &account)
	switch {
	case err == nil, apierrors.IsAlreadyExists(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return ctrl.Result{}, nil
	default:
		return outcome.Of(ctrl.Result{}, fmt.Errorf("creating service account %s/%s: %w", ns.Name, Name, err))
	}
}

func namespaceOf(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: o.GetNamespace()}}}
}

// deletions passes the deletions of accounts of that name.
var deletions = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	UpdateFunc:  func(event.UpdateEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
	DeleteFunc:  func(e event.DeleteEvent) bool { return e.Object.GetName() == Name },
}
