// Package tokencleaner deletes bootstrap tokens that have expired.
//
// It watches Secrets of type bootstrap.kubernetes.io/token in kube-system, by a
// cache of its own that holds no others.
package tokencleaner

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"coracle.dev/coracle/controllers/internal/bootstraptoken"
	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/narrow"
	"coracle.dev/coracle/controllers/internal/outcome"
)

// Reconciler reconciles Secrets that are bootstrap tokens.
type Reconciler struct {
	client  client.Client
	secrets client.Reader
	now     func() time.Time
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{client: mgr.GetClient(), now: moment.Now(mgr)}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	own, err := narrow.Cache(mgr, &corev1.Secret{}, "type", string(bootstraptoken.Type), metav1.NamespaceSystem)
	if err != nil {
		return err
	}
	r.secrets = own
	return ctrl.NewControllerManagedBy(mgr).
		Named("token-cleaner-controller").
		WatchesRawSource(source.Kind(own, &corev1.Secret{}, &handler.TypedEnqueueRequestForObject[*corev1.Secret]{})).
		WithOptions(outcome.Options(1, mgr)).
		Complete(r)
}

// Reconcile deletes one token if it is over, or waits until it is.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &corev1.Secret{}
	if err := r.secrets.Get(ctx, req.NamespacedName, s); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	token, is := bootstraptoken.Parse(s)
	switch {
	case !is, token.Expires.IsZero():
		return ctrl.Result{}, nil
	case !token.Expired(r.now()):
		return ctrl.Result{RequeueAfter: token.Expires.Sub(r.now())}, nil
	}
	err := r.client.Delete(ctx, s, client.Preconditions{UID: &s.UID, ResourceVersion: &s.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return outcome.Of(ctrl.Result{}, fmt.Errorf("deleting bootstrap token %s: %w", token.ID, err))
	}
	klog.FromContext(ctx).Info("Deleted an expired bootstrap token", "tokenID", token.ID)
	return ctrl.Result{}, nil
}
