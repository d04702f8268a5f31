package replica

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"coracle.dev/coracle/controllers/internal/batch"
	"coracle.dev/coracle/controllers/internal/expectation"
	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/owner"
	"coracle.dev/coracle/controllers/internal/pace"
	"coracle.dev/coracle/controllers/internal/podcontrol"
	"coracle.dev/coracle/controllers/internal/podevent"
	"coracle.dev/coracle/controllers/internal/podstatus"
	"coracle.dev/coracle/controllers/internal/written"
)

// Kind is how the reconciler sees owners of one kind.
type Kind[T client.Object] struct {
	// Name is the controller's name, as events show it.
	Name string
	GVK  schema.GroupVersionKind
	New  func() T
	// Set reads the owner.
	Set func(T) (Set, error)
	// SetStatus writes to the owner's status, in memory.
	SetStatus func(T, appsv1.ReplicaSetStatus)
	// List lists the owners of a namespace.
	List func(ctx context.Context, r client.Reader, namespace string) ([]T, error)
	// Related lists the pods that count for the spread over nodes when some
	// are to be deleted. Nil: those of the owner itself.
	Related func(ctx context.Context, r client.Reader, owner T) ([]*corev1.Pod, error)
}

// Reconciler keeps the pods of the owners of one kind.
type Reconciler[T client.Object] struct {
	kind    Kind[T]
	client  client.Client
	live    client.Reader
	pods    podcontrol.Control
	expect  *expectation.Tracker
	pace    *pace.Limiter
	written *written.Versions
	now     func() time.Time
}

// New makes the reconciler of a kind with the manager's client.
func New[T client.Object](mgr ctrl.Manager, kind Kind[T]) *Reconciler[T] {
	return &Reconciler[T]{
		kind:    kind,
		client:  mgr.GetClient(),
		live:    mgr.GetAPIReader(),
		pods:    podcontrol.Control{Client: mgr.GetClient(), Recorder: mgr.GetEventRecorderFor(kind.Name)}, //nolint:staticcheck // events as Kubernetes has them, with a source
		expect:  expectation.New(time.Now),
		pace:    pace.New(time.Now),
		written: written.New(),
		now:     moment.Now(mgr),
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler[T]) SetupWithManager(mgr ctrl.Manager) error {
	if err := index.ByController(mgr, &corev1.Pod{}); err != nil {
		return err
	}
	forget := predicate.Funcs{DeleteFunc: func(e event.DeleteEvent) bool {
		r.expect.Forget(e.Object.GetUID())
		r.written.Forget(e.Object.GetUID())
		r.pace.Forget(client.ObjectKeyFromObject(e.Object))
		return true
	}}
	return ctrl.NewControllerManagedBy(mgr).
		Named(r.kind.Name).
		For(r.kind.New(), builder.WithPredicates(forget, predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, &podevent.Handler{Kind: r.kind.GVK, Tracker: r.expect, Adopters: r.adopters}).
		WithOptions(outcome.Options(5, mgr)).
		Complete(r)
}

// Reconcile brings the pods of one owner to the number asked for, and its
// status to what there is.
func (r *Reconciler[T]) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if wait := r.pace.Wait(req.NamespacedName); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	obj := r.kind.New()
	if err := r.client.Get(ctx, req.NamespacedName, obj); err != nil {
		return outcome.Of(ctrl.Result{}, client.IgnoreNotFound(err))
	}
	set, err := r.kind.Set(obj)
	if err != nil {
		// The selector is not valid: nothing helps but a change of the object.
		klog.FromContext(ctx).Error(err, "Reading the selector")
		return ctrl.Result{}, nil
	}
	// Asked before the pods are listed: what the tracker has seen, the list has.
	settled := r.expect.Satisfied(obj.GetUID())
	active, terminating, claimErr := r.observe(ctx, obj, set)
	r.pace.Done(req.NamespacedName, len(active))
	if claimErr != nil {
		return outcome.Of(ctrl.Result{}, claimErr)
	}
	var failure error
	if settled && obj.GetDeletionTimestamp() == nil {
		failure = r.manage(ctx, obj, set, active)
	}
	next, err := r.writeStatus(ctx, obj, set, observation{active, terminating, settled}, failure)
	if failure != nil {
		return outcome.Of(ctrl.Result{}, failure)
	}
	return outcome.Of(ctrl.Result{RequeueAfter: next}, err)
}

// observe returns the owner's active pods, after adopting and releasing, and
// how many pods of it are being deleted.
func (r *Reconciler[T]) observe(ctx context.Context, obj T, set Set) ([]*corev1.Pod, int, error) {
	owned, err := index.PodsOf(ctx, r.client, obj.GetNamespace(), obj.GetUID())
	if err != nil {
		return nil, 0, err
	}
	orphans, err := index.OrphanPods(ctx, r.client, obj.GetNamespace())
	if err != nil {
		return nil, 0, err
	}
	var candidates []*corev1.Pod
	terminating := 0
	for _, p := range append(owned, orphans...) {
		switch {
		case podstatus.Active(p):
			candidates = append(candidates, p)
		case podstatus.Terminating(p) && metav1.IsControlledBy(p, obj):
			terminating++
		}
	}
	claimer := &owner.Claimer{Client: r.client, Live: r.live, Controller: obj, Kind: r.kind.GVK, Selector: set.Selector}
	active, err := claimer.Pods(ctx, candidates)
	return active, terminating, err
}

// manage creates the pods that are missing, or deletes those in surplus.
func (r *Reconciler[T]) manage(ctx context.Context, obj T, set Set, active []*corev1.Pod) error {
	n := surplus(set, len(active))
	switch {
	case n < 0:
		return r.create(ctx, obj, set, -n)
	case n > 0:
		related := active
		if r.kind.Related != nil && n < len(active) {
			var err error
			if related, err = r.kind.Related(ctx, r.client, obj); err != nil {
				return err
			}
		}
		return r.delete(ctx, obj, podstatus.Victims(active, related, n, r.now()))
	}
	return nil
}

func (r *Reconciler[T]) create(ctx context.Context, obj T, set Set, n int) error {
	klog.FromContext(ctx).V(2).Info("Creating pods", "count", n, "want", set.Replicas)
	r.expect.ExpectCreations(obj.GetUID(), n)
	var terminating atomic.Bool
	created, err := batch.SlowStart(n, func(int) error {
		err := r.pods.Create(ctx, podcontrol.FromTemplate(set.Template, obj, r.kind.GVK), obj)
		if podcontrol.NamespaceTerminating(err) {
			terminating.Store(true)
		}
		return err
	})
	r.expect.CreationsObserved(obj.GetUID(), n-created)
	if terminating.Load() {
		// The owner is about to go too; there is nothing to repeat.
		return nil
	}
	return err
}

func (r *Reconciler[T]) delete(ctx context.Context, obj T, pods []*corev1.Pod) error {
	klog.FromContext(ctx).V(2).Info("Deleting pods", "count", len(pods))
	for _, p := range pods {
		r.expect.ExpectDeletion(obj.GetUID(), p.UID)
	}
	_, err := batch.All(len(pods), func(i int) error {
		err := r.pods.Delete(ctx, pods[i], obj)
		if err != nil {
			r.expect.DeletionObserved(obj.GetUID(), pods[i].UID)
		}
		return client.IgnoreNotFound(err)
	})
	return err
}

// writeStatus writes the status if it changed, and returns how long it takes
// until it changes with time.
func (r *Reconciler[T]) writeStatus(ctx context.Context, obj T, set Set, o observation, failure error) (time.Duration, error) {
	now := r.now()
	st, next := status(set, o, failure, now)
	var wait time.Duration
	if !next.IsZero() {
		wait = next.Sub(now)
	}
	if err := r.written.Current(obj); err != nil {
		return 0, err
	}
	r.kind.SetStatus(obj, st)
	// Compared as the kind holds it: not every kind has every field.
	if written, err := r.kind.Set(obj); err == nil && apiequality.Semantic.DeepEqual(written.Status, set.Status) {
		return wait, nil
	}
	if err := r.client.Status().Update(ctx, obj); err != nil {
		return 0, fmt.Errorf("writing the status: %w", err)
	}
	r.written.Note(obj)
	return wait, nil
}

// adopters names the owners that may adopt an orphan.
func (r *Reconciler[T]) adopters(ctx context.Context, orphan client.Object) []types.NamespacedName {
	owners, err := r.kind.List(ctx, r.client, orphan.GetNamespace())
	if err != nil {
		klog.FromContext(ctx).Error(err, "Listing who may adopt", "object", klog.KObj(orphan))
		return nil
	}
	var names []types.NamespacedName
	for _, o := range owners {
		set, err := r.kind.Set(o)
		if err == nil && !set.Selector.Empty() && set.Selector.Matches(labels.Set(orphan.GetLabels())) {
			names = append(names, client.ObjectKeyFromObject(o))
		}
	}
	return names
}
