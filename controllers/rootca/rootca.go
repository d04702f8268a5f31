// Package rootca publishes the certificates by which pods know the API server.
//
// It keeps a ConfigMap "kube-root-ca.crt" in every namespace, which it owns: a
// change by anyone else is undone. It watches namespaces through the manager's
// cache, and these ConfigMaps alone through a cache of its own, since all
// ConfigMaps of a cluster can be large.
package rootca

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"coracle.dev/coracle/controllers/internal/narrow"
	"coracle.dev/coracle/controllers/internal/outcome"
)

// Name is the name of the ConfigMaps, Key where the certificates are in them.
const (
	Name = "kube-root-ca.crt"
	Key  = "ca.crt"
)

const (
	descriptionKey = "kubernetes.io/description"
	description    = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. " +
		"No other usage is guaranteed across distributions of Kubernetes clusters."
)

// Reconciler reconciles namespaces.
type Reconciler struct {
	client     client.Client
	configMaps client.Reader // has those of the name alone
	rootCA     []byte
}

// New makes the reconciler, which publishes the PEM bundle. If that is empty,
// it is the one by which the manager itself knows the API server.
func New(mgr ctrl.Manager, rootCA []byte) *Reconciler {
	if len(rootCA) == 0 {
		rootCA = mgr.GetConfig().CAData
	}
	return &Reconciler{client: mgr.GetClient(), rootCA: rootCA}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	own, err := narrow.Cache(mgr, &corev1.ConfigMap{}, metav1.ObjectNameField, Name)
	if err != nil {
		return err
	}
	r.configMaps = own
	toNamespace := handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, o *corev1.ConfigMap) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: o.Namespace}}}
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("root-ca-certificate-publisher-controller").
		For(&corev1.Namespace{}).
		WatchesRawSource(source.Kind(own, &corev1.ConfigMap{}, toNamespace)).
		WithOptions(outcome.Options(2)).
		Complete(r)
}

// Reconcile publishes to one namespace.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var ns corev1.Namespace
	if err := r.client.Get(ctx, req.NamespacedName, &ns); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if ns.DeletionTimestamp != nil || ns.Status.Phase == corev1.NamespaceTerminating {
		return ctrl.Result{}, nil
	}
	want := r.wanted(ns.Name)
	var have corev1.ConfigMap
	err := r.configMaps.Get(ctx, client.ObjectKeyFromObject(want), &have)
	switch {
	case apierrors.IsNotFound(err):
		err = r.client.Create(ctx, want)
		if apierrors.IsAlreadyExists(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return ctrl.Result{}, nil // if it is another's, the watch tells
		}
	case err == nil:
		if published(&have, want) {
			return ctrl.Result{}, nil
		}
		have.Data, have.BinaryData = want.Data, nil
		if have.Annotations == nil {
			have.Annotations = map[string]string{}
		}
		have.Annotations[descriptionKey] = description
		err = r.client.Update(ctx, &have)
	}
	if err != nil {
		return outcome.Of(ctrl.Result{}, fmt.Errorf("publishing to namespace %s: %w", ns.Name, err))
	}
	return ctrl.Result{}, nil
}

func (r *Reconciler) wanted(namespace string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name, Annotations: map[string]string{descriptionKey: description}},
		Data:       map[string]string{Key: string(r.rootCA)},
	}
}

func published(have, want *corev1.ConfigMap) bool {
	return maps.Equal(have.Data, want.Data) && len(have.BinaryData) == 0 && have.Annotations[descriptionKey] == description
}
