package daemonset

import (
	"context"
	"fmt"
	"maps"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/expectation"
	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/owner"
	"coracle.dev/coracle/controllers/internal/pace"
	"coracle.dev/coracle/controllers/internal/podcontrol"
	"coracle.dev/coracle/controllers/internal/podevent"
	"coracle.dev/coracle/controllers/internal/revision"
	"coracle.dev/coracle/controllers/internal/written"
)

var kind = appsv1.SchemeGroupVersion.WithKind("DaemonSet")

// Reconciler reconciles DaemonSets.
type Reconciler struct {
	client  client.Client
	live    client.Reader
	pods    podcontrol.Control
	expect  *expectation.Tracker
	pace    *pace.Limiter
	backoff *backoff
	written *written.Versions
	now     func() time.Time
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		client:  mgr.GetClient(),
		live:    mgr.GetAPIReader(),
		pods:    podcontrol.Control{Client: mgr.GetClient(), Recorder: mgr.GetEventRecorderFor("daemonset-controller")}, //nolint:staticcheck // events as Kubernetes has them, with a source
		expect:  expectation.New(time.Now),
		pace:    pace.New(time.Now),
		backoff: newBackoff(moment.Now(mgr)),
		written: written.New(),
		now:     moment.Now(mgr),
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	for _, obj := range []client.Object{&corev1.Pod{}, &appsv1.ControllerRevision{}} {
		if err := index.ByController(mgr, obj); err != nil {
			return err
		}
	}
	forget := predicate.Funcs{DeleteFunc: func(e event.DeleteEvent) bool {
		r.expect.Forget(e.Object.GetUID())
		r.written.Forget(e.Object.GetUID())
		r.backoff.forget(e.Object.GetUID())
		r.pace.Forget(client.ObjectKeyFromObject(e.Object))
		return true
	}}
	placement := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, is := e.ObjectOld.(*corev1.Node), e.ObjectNew.(*corev1.Node)
		return !maps.Equal(was.Labels, is.Labels) || !apiequality.Semantic.DeepEqual(was.Spec.Taints, is.Spec.Taints)
	}}
	return ctrl.NewControllerManagedBy(mgr).
		Named("daemonset-controller").
		For(&appsv1.DaemonSet{}, builder.WithPredicates(forget, predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, &podevent.Handler{Kind: kind, Tracker: r.expect, Adopters: r.adopters}).
		Watches(&appsv1.ControllerRevision{}, &podevent.Handler{Kind: kind}).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(r.all), builder.WithPredicates(placement)).
		WithOptions(outcome.Options(2, mgr)).
		Complete(r)
}

// Reconcile brings the daemons of one set to the nodes they are to be on.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if wait := r.pace.Wait(req.NamespacedName); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	ds := &appsv1.DaemonSet{}
	if err := r.client.Get(ctx, req.NamespacedName, ds); err != nil {
		return outcome.Of(ctrl.Result{}, client.IgnoreNotFound(err))
	}
	selector, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Reading the selector")
		return ctrl.Result{}, nil
	}
	if selector.Empty() {
		r.pods.Recorder.Event(ds, corev1.EventTypeWarning, "SelectingAll",
			"This daemon set is selecting all pods. A non-empty selector is required.")
		return ctrl.Result{}, nil
	}
	o, err := r.observe(ctx, ds, selector)
	if err != nil {
		return outcome.Of(ctrl.Result{}, err)
	}
	r.pace.Done(req.NamespacedName, len(o.pods)+len(o.nodes))
	if ds.DeletionTimestamp == nil {
		if o.hash, err = r.keepHistory(ctx, ds, selector, o.pods); err != nil {
			return outcome.Of(ctrl.Result{}, err)
		}
	}
	a := plan(o, r.now())
	return outcome.Of(ctrl.Result{RequeueAfter: a.after}, r.apply(ctx, ds, o, a))
}

func (r *Reconciler) observe(ctx context.Context, ds *appsv1.DaemonSet, selector labels.Selector) (observed, error) {
	// Asked before the pods are listed: what the tracker has seen, the list has.
	o := observed{set: ds, settled: r.expect.Satisfied(ds.UID), delays: r.backoff.delays(ds.UID)}
	owned, err := index.PodsOf(ctx, r.client, ds.Namespace, ds.UID)
	if err != nil {
		return o, err
	}
	orphans, err := index.OrphanPods(ctx, r.client, ds.Namespace)
	if err != nil {
		return o, err
	}
	claimer := &owner.Claimer{Client: r.client, Live: r.live, Controller: ds, Kind: kind, Selector: selector}
	if o.pods, err = claimer.Pods(ctx, append(owned, orphans...)); err != nil {
		return o, err
	}
	var nodes corev1.NodeList
	if err := r.client.List(ctx, &nodes, client.UnsafeDisableDeepCopy); err != nil {
		return o, fmt.Errorf("listing nodes: %w", err)
	}
	for i := range nodes.Items {
		o.nodes = append(o.nodes, &nodes.Items[i])
	}
	return o, nil
}

// keepHistory writes the revisions of the set's template, and returns the hash
// of the present one.
func (r *Reconciler) keepHistory(ctx context.Context, ds *appsv1.DaemonSet, selector labels.Selector, pods []*corev1.Pod) (string, error) {
	keeper := revision.Keeper{
		Owner:  revision.Owner{Object: ds, Kind: kind, Template: &ds.Spec.Template, Collisions: ds.Status.CollisionCount, Limit: 10},
		Client: r.client, Live: r.live, Selector: selector,
		Collided: func(ctx context.Context, count *int32) error {
			ds.Status.CollisionCount = count
			return r.client.Status().Update(ctx, ds)
		},
	}
	if ds.Spec.RevisionHistoryLimit != nil {
		keeper.Limit = int(*ds.Spec.RevisionHistoryLimit)
	}
	existing, err := keeper.Existing(ctx)
	if err != nil {
		return "", err
	}
	used := map[string]bool{}
	for _, p := range pods {
		used[p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]] = true
	}
	h, err := revision.Plan(keeper.Owner, existing, func(old *appsv1.ControllerRevision) bool { return used[revision.Hash(old)] })
	if err != nil {
		return "", err
	}
	return revision.Hash(h.Current), keeper.Write(ctx, h)
}

// adopters names the sets that may adopt a pod.
func (r *Reconciler) adopters(ctx context.Context, orphan client.Object) []types.NamespacedName {
	var names []types.NamespacedName
	for _, ds := range r.list(ctx, client.InNamespace(orphan.GetNamespace())) {
		selector, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(orphan.GetLabels())) {
			names = append(names, client.ObjectKeyFromObject(&ds))
		}
	}
	return names
}

// all names every set: a node that comes or changes may concern any.
func (r *Reconciler) all(ctx context.Context, _ client.Object) []reconcile.Request {
	var requests []reconcile.Request
	for _, ds := range r.list(ctx) {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&ds)})
	}
	return requests
}

func (r *Reconciler) list(ctx context.Context, opts ...client.ListOption) []appsv1.DaemonSet {
	var list appsv1.DaemonSetList
	if err := r.client.List(ctx, &list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		klog.FromContext(ctx).Error(err, "Listing daemon sets")
		return nil
	}
	return list.Items
}
