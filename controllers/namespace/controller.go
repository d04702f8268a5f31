package namespace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
)

// Reconciler reconciles namespaces.
type Reconciler struct {
	client    client.Client
	discovery discovery.DiscoveryInterfaceWithContext
	content   metadata.Interface
	now       func() time.Time
}

// New makes the reconciler with the manager's client and clients of its own for
// discovery and metadata.
func New(mgr ctrl.Manager) (*Reconciler, error) {
	disco, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("making a discovery client: %w", err)
	}
	content, err := metadata.NewForConfigAndClient(metadata.ConfigFor(mgr.GetConfig()), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("making a metadata client: %w", err)
	}
	return &Reconciler{client: mgr.GetClient(), discovery: disco, content: content, now: moment.Now(mgr)}, nil
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	terminating := predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetDeletionTimestamp() != nil })
	return ctrl.NewControllerManagedBy(mgr).
		Named("namespace-controller").
		For(&corev1.Namespace{}, builder.WithPredicates(terminating)).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.ofPod), builder.WithPredicates(gone)).
		WithOptions(outcome.Options(5, mgr)).
		Complete(r)
}

// gone passes deletions alone.
var gone = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	UpdateFunc:  func(event.UpdateEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
}

// ofPod is the namespace of a pod that went, if that is terminating.
func (r *Reconciler) ofPod(ctx context.Context, o client.Object) []reconcile.Request {
	key := types.NamespacedName{Name: o.GetNamespace()}
	var ns corev1.Namespace
	if err := r.client.Get(ctx, key, &ns); err != nil || ns.DeletionTimestamp == nil {
		return nil
	}
	return []reconcile.Request{{NamespacedName: key}}
}

// Reconcile empties one namespace, and finalizes it when it is empty.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var ns corev1.Namespace
	if err := r.client.Get(ctx, req.NamespacedName, &ns); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if ns.DeletionTimestamp == nil || !slices.Contains(ns.Spec.Finalizers, corev1.FinalizerKubernetes) {
		return ctrl.Result{}, nil
	}
	left := r.clear(ctx, ns.Name)
	if merge(&ns.Status, left.conditions(), metav1.NewTime(r.now())) {
		if err := r.client.Status().Update(ctx, &ns); err != nil {
			return outcome.Of(ctrl.Result{}, fmt.Errorf("writing the status of namespace %s: %w", ns.Name, err))
		}
	}
	if !left.empty() {
		return ctrl.Result{RequeueAfter: again(r.now().Sub(ns.DeletionTimestamp.Time))}, nil
	}
	ns.Spec.Finalizers = slices.DeleteFunc(ns.Spec.Finalizers, func(f corev1.FinalizerName) bool { return f == corev1.FinalizerKubernetes })
	if err := r.client.SubResource("finalize").Update(ctx, &ns); err != nil {
		return outcome.Of(ctrl.Result{}, fmt.Errorf("finalizing namespace %s: %w", ns.Name, err))
	}
	klog.FromContext(ctx).Info("Emptied namespace")
	return ctrl.Result{}, nil
}

// clear deletes what can be deleted now, and returns what is left.
func (r *Reconciler) clear(ctx context.Context, namespace string) *remains {
	left := &remains{}
	lists, err := r.discovery.ServerPreferredNamespacedResourcesWithContext(ctx)
	left.discovery = err
	all, invalid := kinds(lists)
	left.invalid = invalid
	first, then := podsFirst(all)
	for _, k := range first {
		r.clearKind(ctx, namespace, k, left)
	}
	if len(left.objects) > 0 {
		return left
	}
	for _, k := range then {
		r.clearKind(ctx, namespace, k, left)
	}
	return left
}

// clearKind deletes the objects of one kind, and adds those that stay to what
// is left.
func (r *Reconciler) clearKind(ctx context.Context, namespace string, k kind, left *remains) {
	items, err := r.list(ctx, namespace, k)
	if err == nil && k.list && len(items) == 0 {
		return
	}
	if err == nil {
		err = r.remove(ctx, namespace, k, items)
	}
	if err == nil {
		items, err = r.list(ctx, namespace, k)
	}
	if err != nil {
		if !absent(err) {
			left.deletion = append(left.deletion, fmt.Errorf("%s: %w", k.resource.GroupResource(), err))
		}
		return
	}
	left.add(k.resource, items)
}

func (r *Reconciler) list(ctx context.Context, namespace string, k kind) ([]metav1.PartialObjectMetadata, error) {
	if !k.list {
		return nil, nil
	}
	list, err := r.content.Resource(k.resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

func (r *Reconciler) remove(ctx context.Context, namespace string, k kind, items []metav1.PartialObjectMetadata) error {
	in := r.content.Resource(k.resource).Namespace(namespace)
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{PropagationPolicy: &background}
	if k.collection {
		return in.DeleteCollection(ctx, options, metav1.ListOptions{})
	}
	var errs []error
	for i := range items {
		if err := in.Delete(ctx, items[i].Name, options); !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// absent tells that discovery named something that is not, or no longer, there.
func absent(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err)
}
