package statefulset

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

	"coracle.dev/coracle/controllers/internal/expectation"
	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/owner"
	"coracle.dev/coracle/controllers/internal/pace"
	"coracle.dev/coracle/controllers/internal/podevent"
	"coracle.dev/coracle/controllers/internal/revision"
	"coracle.dev/coracle/controllers/internal/written"
)

var kind = appsv1.SchemeGroupVersion.WithKind("StatefulSet")

// Reconciler reconciles StatefulSets.
type Reconciler struct {
	client   client.Client
	live     client.Reader
	recorder record.EventRecorder
	expect   *expectation.Tracker
	pace     *pace.Limiter
	now      func() time.Time
	written  *written.Versions
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		client:   mgr.GetClient(),
		live:     mgr.GetAPIReader(),
		recorder: mgr.GetEventRecorderFor("statefulset-controller"), //nolint:staticcheck // events as Kubernetes has them, with a source
		expect:   expectation.New(time.Now),
		pace:     pace.New(time.Now),
		now:      moment.Now(mgr),
		written:  written.New(),
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
		r.pace.Forget(client.ObjectKeyFromObject(e.Object))
		return true
	}}
	gone := predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("statefulset-controller").
		For(&appsv1.StatefulSet{}, builder.WithPredicates(forget, predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, &podevent.Handler{Kind: kind, Tracker: r.expect, Adopters: r.adopters}).
		Watches(&appsv1.ControllerRevision{}, &podevent.Handler{Kind: kind}).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(r.claimants), builder.WithPredicates(gone)).
		WithOptions(outcome.Options(5, mgr)).
		Complete(r)
}

// Reconcile takes one set a step towards its specification.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if wait := r.pace.Wait(req.NamespacedName); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	set := &appsv1.StatefulSet{}
	if err := r.client.Get(ctx, req.NamespacedName, set); err != nil {
		return outcome.Of(ctrl.Result{}, client.IgnoreNotFound(err))
	}
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Reading the selector")
		return ctrl.Result{}, nil
	}
	// Asked before the pods are listed: what the tracker has seen, the list has.
	o := observed{set: set, settled: r.expect.Satisfied(set.UID)}
	if o.pods, err = r.members(ctx, set, selector); err != nil {
		return outcome.Of(ctrl.Result{}, err)
	}
	if err := r.revisions(ctx, selector, &o); err != nil {
		return outcome.Of(ctrl.Result{}, err)
	}
	if o.claims, err = r.claims(ctx, set, o.pods); err != nil {
		return outcome.Of(ctrl.Result{}, err)
	}
	r.pace.Done(req.NamespacedName, len(o.pods))
	a := plan(o, r.now())
	return outcome.Of(ctrl.Result{RequeueAfter: a.after}, r.apply(ctx, set, a))
}

// members returns the set's pods, after adopting and releasing. Only pods whose
// names are an ordinal's are taken.
func (r *Reconciler) members(ctx context.Context, set *appsv1.StatefulSet, selector labels.Selector) ([]*corev1.Pod, error) {
	mine, err := index.PodsOf(ctx, r.client, set.Namespace, set.UID)
	if err != nil {
		return nil, err
	}
	orphans, err := index.OrphanPods(ctx, r.client, set.Namespace)
	if err != nil {
		return nil, err
	}
	var candidates []*corev1.Pod
	for _, p := range append(mine, orphans...) {
		if ordinalOf(set, p.Name) >= 0 {
			candidates = append(candidates, p)
		}
	}
	claimer := &owner.Claimer{Client: r.client, Live: r.live, Controller: set, Kind: kind, Selector: selector}
	return claimer.Pods(ctx, candidates)
}

// revisions writes the history of the set's template, and finds the revisions
// that its pods are to be of.
func (r *Reconciler) revisions(ctx context.Context, selector labels.Selector, o *observed) error {
	set := o.set
	keeper := revision.Keeper{
		Owner:  revision.Owner{Object: set, Kind: kind, Template: &set.Spec.Template, Collisions: set.Status.CollisionCount, Limit: 10},
		Client: r.client, Live: r.live, Selector: selector,
		Collided: func(ctx context.Context, count *int32) error {
			set.Status.CollisionCount = count
			return r.client.Status().Update(ctx, set)
		},
	}
	if set.Spec.RevisionHistoryLimit != nil {
		keeper.Limit = int(*set.Spec.RevisionHistoryLimit)
	}
	existing, err := keeper.Existing(ctx)
	if err != nil {
		return err
	}
	used := map[string]bool{set.Status.CurrentRevision: true}
	for _, p := range o.pods {
		used[revisionOf(p)] = true
	}
	h, err := revision.Plan(keeper.Owner, existing, func(old *appsv1.ControllerRevision) bool { return used[old.Name] })
	if err != nil {
		return err
	}
	o.update = template{h.Current.Name, &set.Spec.Template}
	o.current = o.update
	for _, old := range existing {
		if old.Name == set.Status.CurrentRevision && old.Name != o.update.name {
			o.current.name = old.Name
			if o.current.pod, err = revision.Template(old); err != nil {
				return err
			}
		}
	}
	if set.DeletionTimestamp != nil {
		return nil
	}
	return keeper.Write(ctx, h)
}

// claims reads the claims of the set's ordinals and pods.
func (r *Reconciler) claims(ctx context.Context, set *appsv1.StatefulSet, pods []*corev1.Pod) (map[string]*corev1.PersistentVolumeClaim, error) {
	claims := map[string]*corev1.PersistentVolumeClaim{}
	if len(set.Spec.VolumeClaimTemplates) == 0 {
		return claims, nil
	}
	ordinals := map[int]bool{}
	for i := range *set.Spec.Replicas {
		ordinals[start(set)+int(i)] = true
	}
	for _, p := range pods {
		ordinals[ordinalOf(set, p.Name)] = true
	}
	for ordinal := range ordinals {
		for _, name := range claimNames(set, ordinal) {
			c := &corev1.PersistentVolumeClaim{}
			err := r.client.Get(ctx, types.NamespacedName{Namespace: set.Namespace, Name: name}, c)
			if apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("reading claim %s: %w", name, err)
			}
			claims[name] = c
		}
	}
	return claims, nil
}

// adopters names the sets that may adopt a pod.
func (r *Reconciler) adopters(ctx context.Context, orphan client.Object) []types.NamespacedName {
	var names []types.NamespacedName
	for _, set := range r.list(ctx, orphan.GetNamespace()) {
		selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(orphan.GetLabels())) && ordinalOf(&set, orphan.GetName()) >= 0 {
			names = append(names, client.ObjectKeyFromObject(&set))
		}
	}
	return names
}

// claimants names the sets that a claim is for: they may be waiting for it to go.
func (r *Reconciler) claimants(ctx context.Context, claim client.Object) []reconcile.Request {
	var requests []reconcile.Request
	for _, set := range r.list(ctx, claim.GetNamespace()) {
		for i := range set.Spec.VolumeClaimTemplates {
			if strings.HasPrefix(claim.GetName(), set.Spec.VolumeClaimTemplates[i].Name+"-"+set.Name+"-") {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&set)})
			}
		}
	}
	return requests
}

func (r *Reconciler) list(ctx context.Context, namespace string) []appsv1.StatefulSet {
	var list appsv1.StatefulSetList
	if err := r.client.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Listing stateful sets", "namespace", namespace)
	}
	return list.Items
}
