package deployment

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/owner"
	"coracle.dev/coracle/controllers/internal/podevent"
	"coracle.dev/coracle/controllers/internal/podstatus"
)

var kind = appsv1.SchemeGroupVersion.WithKind("Deployment")

// Reconciler reconciles Deployments.
type Reconciler struct {
	client   client.Client
	live     client.Reader
	recorder record.EventRecorder
	now      func() time.Time
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		client:   mgr.GetClient(),
		live:     mgr.GetAPIReader(),
		recorder: mgr.GetEventRecorderFor("deployment-controller"), //nolint:staticcheck // events as Kubernetes has them, with a source
		now:      moment.Now(mgr),
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	for _, obj := range []client.Object{&appsv1.ReplicaSet{}, &corev1.Pod{}} {
		if err := index.ByController(mgr, obj); err != nil {
			return err
		}
	}
	gone := predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld.(*corev1.Pod), e.ObjectNew.(*corev1.Pod)
			return podstatus.Finished(is) && !podstatus.Finished(was)
		},
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("deployment-controller").
		For(&appsv1.Deployment{}).
		Watches(&appsv1.ReplicaSet{}, &podevent.Handler{Kind: kind, Adopters: r.adopters}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.ofPod), builder.WithPredicates(gone)).
		WithOptions(outcome.Options(5, mgr)).
		Complete(r)
}

// Reconcile takes one step of a deployment's rollout.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	d := &appsv1.Deployment{}
	if err := r.client.Get(ctx, req.NamespacedName, d); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Reading the selector")
		return ctrl.Result{}, nil
	}
	if selector.Empty() {
		return outcome.Of(ctrl.Result{}, r.refuse(ctx, d))
	}
	o, err := r.observe(ctx, d, selector)
	if err != nil {
		return outcome.Of(ctrl.Result{}, err)
	}
	a := plan(o, r.now())
	err = r.apply(ctx, d, a)
	return outcome.Of(ctrl.Result{RequeueAfter: a.after}, err)
}

// refuse tells that a deployment selects everything, and does nothing for it.
func (r *Reconciler) refuse(ctx context.Context, d *appsv1.Deployment) error {
	r.recorder.Event(d, corev1.EventTypeWarning, "SelectingAll",
		"This deployment is selecting all pods. A non-empty selector is required.")
	if d.Status.ObservedGeneration >= d.Generation {
		return nil
	}
	d.Status.ObservedGeneration = d.Generation
	return r.client.Status().Update(ctx, d)
}

func (r *Reconciler) observe(ctx context.Context, d *appsv1.Deployment, selector labels.Selector) (observed, error) {
	var candidates []*appsv1.ReplicaSet
	for _, key := range []string{string(d.UID), index.Orphan} {
		sets, err := r.sets(ctx, client.InNamespace(d.Namespace), client.MatchingFields{index.Controller: key})
		if err != nil {
			return observed{}, err
		}
		candidates = append(candidates, sets...)
	}
	claimer := &owner.Claimer{Client: r.client, Live: r.live, Controller: d, Kind: kind, Selector: selector}
	sets, err := owner.All(ctx, claimer, candidates)
	if err != nil {
		return observed{}, err
	}
	o := observed{deployment: d, sets: sets}
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		o.running, err = r.running(ctx, sets)
	}
	return o, err
}

// running finds the sets of which pods have not finished.
func (r *Reconciler) running(ctx context.Context, sets []*appsv1.ReplicaSet) (map[types.UID]bool, error) {
	running := map[types.UID]bool{}
	for _, rs := range sets {
		pods, err := index.PodsOf(ctx, r.client, rs.Namespace, rs.UID)
		if err != nil {
			return nil, err
		}
		for _, p := range pods {
			if !podstatus.Finished(p) {
				running[rs.UID] = true
			}
		}
	}
	return running, nil
}

// sets lists replica sets without copying; they belong to the cache.
func (r *Reconciler) sets(ctx context.Context, opts ...client.ListOption) ([]*appsv1.ReplicaSet, error) {
	var list appsv1.ReplicaSetList
	if err := r.client.List(ctx, &list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("listing replica sets: %w", err)
	}
	out := make([]*appsv1.ReplicaSet, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}

// adopters names the deployments that may adopt a replica set.
func (r *Reconciler) adopters(ctx context.Context, orphan client.Object) []types.NamespacedName {
	var list appsv1.DeploymentList
	if err := r.client.List(ctx, &list, client.InNamespace(orphan.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Listing who may adopt", "object", klog.KObj(orphan))
		return nil
	}
	var names []types.NamespacedName
	for i := range list.Items {
		d := &list.Items[i]
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(orphan.GetLabels())) {
			names = append(names, client.ObjectKeyFromObject(d))
		}
	}
	return names
}

// ofPod names the deployment that waits for a pod to be gone before it makes
// new ones.
func (r *Reconciler) ofPod(ctx context.Context, pod client.Object) []reconcile.Request {
	ref := metav1.GetControllerOfNoCopy(pod)
	if ref == nil || ref.Kind != "ReplicaSet" {
		return nil
	}
	rs := &appsv1.ReplicaSet{}
	key := types.NamespacedName{Namespace: pod.GetNamespace(), Name: ref.Name}
	if err := r.client.Get(ctx, key, rs, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	ref = metav1.GetControllerOfNoCopy(rs)
	if ref == nil || ref.Kind != kind.Kind {
		return nil
	}
	d := &appsv1.Deployment{}
	key.Name = ref.Name
	if err := r.client.Get(ctx, key, d, client.UnsafeDisableDeepCopy); err != nil ||
		d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		return nil
	}
	return []reconcile.Request{{NamespacedName: key}}
}
