// Package serviceaccounttoken fills the Secrets that ask for a token of a service
// account.
//
// It watches Secrets of type kubernetes.io/service-account-token, by a cache of
// its own that holds no others, and service accounts. A Secret names its account
// in the annotation kubernetes.io/service-account.name; it gets the account's UID
// as an annotation, and in its data a token, the certificates by which the API
// server is known, and its namespace. It is deleted when its account is gone.
//
// Different from Kubernetes: the token is one that the API server issues by
// TokenRequest, bound to the Secret, so that it is worthless as soon as the
// Secret is gone, and the controller needs no signing key. If the API server lets
// it expire, it is renewed in time.
package serviceaccounttoken

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/narrow"
	"coracle.dev/coracle/controllers/internal/outcome"
)

const (
	// longest is the lifetime that is asked for, the longest that can be.
	longest = int64(1 << 32)
	// expiryKey is the annotation that says when a token is to be renewed.
	expiryKey = "coracle.dev/token-renewal"
)

// Reconciler reconciles Secrets.
type Reconciler struct {
	client  client.Client
	live    client.Reader
	secrets client.Reader // has those of the type alone
	rootCA  []byte
	now     func() time.Time
}

// New makes the reconciler. The PEM bundle is what Secrets say of the API server;
// if it is empty, that by which the manager itself knows the API server.
func New(mgr ctrl.Manager, rootCA []byte) *Reconciler {
	if len(rootCA) == 0 {
		rootCA = mgr.GetConfig().CAData
	}
	return &Reconciler{client: mgr.GetClient(), live: mgr.GetAPIReader(), rootCA: rootCA, now: moment.Now(mgr)}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	own, err := narrow.Cache(mgr, &corev1.Secret{}, "type", string(corev1.SecretTypeServiceAccountToken))
	if err != nil {
		return err
	}
	r.secrets = own
	comesOrGoes := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return e.ObjectOld.GetUID() != e.ObjectNew.GetUID() }}
	return ctrl.NewControllerManagedBy(mgr).
		Named("serviceaccount-token-controller").
		WatchesRawSource(source.Kind(own, &corev1.Secret{}, &handler.TypedEnqueueRequestForObject[*corev1.Secret]{})).
		Watches(&corev1.ServiceAccount{}, handler.EnqueueRequestsFromMapFunc(r.ofAccount), builder.WithPredicates(comesOrGoes)).
		WithOptions(outcome.Options(2, mgr)).
		Complete(r)
}

// ofAccount names the Secrets of an account.
func (r *Reconciler) ofAccount(ctx context.Context, o client.Object) (out []reconcile.Request) {
	var list corev1.SecretList
	if err := r.secrets.List(ctx, &list, client.InNamespace(o.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Listing the secrets of a service account", "serviceAccount", klog.KObj(o))
		return nil
	}
	for i := range list.Items {
		if s := &list.Items[i]; s.Annotations[corev1.ServiceAccountNameKey] == o.GetName() {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(s)})
		}
	}
	return out
}

// Reconcile fills or deletes one Secret.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &corev1.Secret{}
	if err := r.secrets.Get(ctx, req.NamespacedName, s); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	name := s.Annotations[corev1.ServiceAccountNameKey]
	if name == "" || s.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	account, err := r.account(ctx, types.NamespacedName{Namespace: s.Namespace, Name: name}, s.Annotations[corev1.ServiceAccountUIDKey])
	if err != nil {
		return ctrl.Result{}, err
	}
	if account == nil {
		err := r.client.Delete(ctx, s, client.Preconditions{UID: &s.UID})
		if client.IgnoreNotFound(err) != nil {
			return outcome.Of(ctrl.Result{}, fmt.Errorf("deleting secret %s of a service account that is gone: %w", req, err))
		}
		klog.FromContext(ctx).Info("Deleted the secret of a service account that is gone", "secret", req, "serviceAccount", name)
		return ctrl.Result{}, nil
	}
	return r.fill(ctx, s, account)
}

// account finds a service account, of a UID unless that is empty; nil if the API
// server says that it is not there.
func (r *Reconciler) account(ctx context.Context, name types.NamespacedName, uid string) (*corev1.ServiceAccount, error) {
	for _, from := range []client.Reader{r.client, r.live} {
		a := &corev1.ServiceAccount{}
		err := from.Get(ctx, name, a)
		if err == nil && (uid == "" || string(a.UID) == uid) {
			return a, nil
		}
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("getting service account %s: %w", name, err)
		}
	}
	return nil, nil
}

// fill writes what a Secret lacks.
func (r *Reconciler) fill(ctx context.Context, s *corev1.Secret, account *corev1.ServiceAccount) (ctrl.Result, error) {
	before := s.DeepCopy()
	renewal, err := time.Parse(time.RFC3339, s.Annotations[expiryKey])
	if len(s.Data[corev1.ServiceAccountTokenKey]) == 0 || err == nil && !r.now().Before(renewal) {
		if renewal, err = r.issue(ctx, s, account); err != nil {
			return outcome.Of(ctrl.Result{}, err)
		}
	}
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	s.Data[corev1.ServiceAccountRootCAKey] = r.rootCA
	s.Data[corev1.ServiceAccountNamespaceKey] = []byte(s.Namespace)
	s.Annotations[corev1.ServiceAccountUIDKey] = string(account.UID)
	if !maps.Equal(before.Annotations, s.Annotations) || !maps.EqualFunc(before.Data, s.Data, func(a, b []byte) bool { return string(a) == string(b) }) {
		if err := r.client.Update(ctx, s); err != nil {
			return outcome.Of(ctrl.Result{}, fmt.Errorf("filling secret %s/%s: %w", s.Namespace, s.Name, err))
		}
		klog.FromContext(ctx).Info("Filled secret", "secret", klog.KObj(s), "serviceAccount", account.Name)
	}
	if renewal.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: renewal.Sub(r.now())}, nil
}

// issue puts a token into a Secret, and tells when to renew it.
func (r *Reconciler) issue(ctx context.Context, s *corev1.Secret, account *corev1.ServiceAccount) (time.Time, error) {
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(longest),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Secret", APIVersion: "v1", Name: s.Name, UID: s.UID},
	}}
	if err := r.client.SubResource("token").Create(ctx, account.DeepCopy(), token); err != nil {
		if apierrors.IsInvalid(err) {
			return time.Time{}, errors.Join(errors.New("the API server issues no token for a secret"), err)
		}
		return time.Time{}, fmt.Errorf("asking for a token of service account %s/%s: %w", account.Namespace, account.Name, err)
	}
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	s.Data[corev1.ServiceAccountTokenKey] = []byte(token.Status.Token)
	left := token.Status.ExpirationTimestamp.Sub(r.now())
	renewal := r.now().Add(left / 5 * 4)
	if left < 10*365*24*time.Hour { // else nobody of us sees it expire
		s.Annotations[expiryKey] = renewal.UTC().Format(time.RFC3339)
		return renewal, nil
	}
	delete(s.Annotations, expiryKey)
	return time.Time{}, nil
}
