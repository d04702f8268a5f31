package resourcequota

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"coracle.dev/coracle/apis/quota"
	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
)

const (
	// resync is how often a quota is counted when nothing tells of a change.
	resync = 5 * time.Minute
	// settled is how long after a write of its status a quota is counted again.
	settled = time.Second
	// unserved is how soon a quota is counted again that names a resource which
	// is not served, as those of a CustomResourceDefinition that is to come.
	unserved = 30 * time.Second
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Reconciler reconciles quotas.
type Reconciler struct {
	client     client.Client
	mgr        ctrl.Manager
	controller controller.Controller
	now        func() time.Time

	mu      sync.Mutex // guards watched
	watched map[schema.GroupResource]bool
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{client: mgr.GetClient(), mgr: mgr, now: moment.Now(mgr), watched: map[schema.GroupResource]bool{}}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) (err error) {
	r.controller, err = ctrl.NewControllerManagedBy(mgr).
		Named("resourcequota-controller").
		For(&corev1.ResourceQuota{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: specified})).
		Watches(&corev1.ResourceQuota{}, handler.Funcs{UpdateFunc: countLater}).
		WithOptions(outcome.Options(5, mgr)).
		Build(r)
	return err
}

// countLater counts again some time after somebody wrote a quota's status: a count may have compared with
// the status of before.
func countLater(_ context.Context, e event.UpdateEvent, q queue) {
	before, after := e.ObjectOld.(*corev1.ResourceQuota), e.ObjectNew.(*corev1.ResourceQuota)
	if !apiequality.Semantic.DeepEqual(before.Status, after.Status) {
		q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(after)}, settled)
	}
}

// specified tells whether an update of a quota changed what it asks for. A new status is no reason to
// count at once: admission writes it before the object that it lets in can be seen.
func specified(e event.UpdateEvent) bool {
	before, after := e.ObjectOld.(*corev1.ResourceQuota), e.ObjectNew.(*corev1.ResourceQuota)
	return !apiequality.Semantic.DeepEqual(before.Spec, after.Spec)
}

// Reconcile counts for one quota.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	q := &corev1.ResourceQuota{}
	if err := r.client.Get(ctx, req.NamespacedName, q); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if q.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	used, again, err := r.count(ctx, q)
	status := corev1.ResourceQuotaStatus{Hard: q.Spec.Hard, Used: corev1.ResourceList{}}
	for name := range q.Spec.Hard {
		if amount, counted := used[name]; counted {
			status.Used[name] = amount
		} else if last, known := q.Status.Used[name]; known {
			status.Used[name] = last
		}
	}
	if !apiequality.Semantic.DeepEqual(status, q.Status) {
		q.Status = status
		if writeErr := r.client.Status().Update(ctx, q); writeErr != nil {
			err = errors.Join(err, fmt.Errorf("writing the status of quota %s: %w", req, writeErr))
		}
	}
	return outcome.Of(ctrl.Result{RequeueAfter: again}, err)
}

// count counts what a quota names, and tells when to do so again.
func (r *Reconciler) count(ctx context.Context, q *corev1.ResourceQuota) (corev1.ResourceList, time.Duration, error) {
	used, again := corev1.ResourceList{}, resync
	var names []corev1.ResourceName
	for name := range q.Spec.Hard {
		names = append(names, name)
	}
	slices.Sort(names)
	var errs []error
	for _, gr := range quota.Resources(names) {
		objs, err := r.objects(ctx, gr, q.Namespace)
		switch {
		case meta.IsNoMatchError(err):
			again = unserved
		case err != nil:
			errs = append(errs, fmt.Errorf("counting %s: %w", gr, err))
		default:
			for name, amount := range quota.For(gr).Used(q, objs, r.now()) {
				used[name] = amount
			}
		}
	}
	return used, again, errors.Join(errs...)
}

// typed are the resources whose objects are looked into.
var typed = map[schema.GroupResource]struct {
	object client.Object
	list   client.ObjectList
}{
	corev1.Resource("pods"):                                   {&corev1.Pod{}, &corev1.PodList{}},
	corev1.Resource("services"):                               {&corev1.Service{}, &corev1.ServiceList{}},
	corev1.Resource("persistentvolumeclaims"):                 {&corev1.PersistentVolumeClaim{}, &corev1.PersistentVolumeClaimList{}},
	{Group: resourcev1.GroupName, Resource: "resourceclaims"}: {&resourcev1.ResourceClaim{}, &resourcev1.ResourceClaimList{}},
}

// objects lists a namespace's objects of a resource, and sees to it that they
// are watched. They belong to the cache.
func (r *Reconciler) objects(ctx context.Context, gr schema.GroupResource, namespace string) ([]runtime.Object, error) {
	var object client.Object
	var list client.ObjectList
	if t, is := typed[gr]; is {
		object, list = t.object, t.list.DeepCopyObject().(client.ObjectList)
	} else {
		kind, err := r.mgr.GetRESTMapper().KindFor(gr.WithVersion(""))
		if err != nil {
			return nil, err
		}
		o, l := &metav1.PartialObjectMetadata{}, &metav1.PartialObjectMetadataList{}
		o.SetGroupVersionKind(kind)
		l.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		object, list = o, l
	}
	if err := r.watch(gr, object); err != nil {
		return nil, err
	}
	if err := r.client.List(ctx, list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	return meta.ExtractList(list)
}

// watch has the quotas counted that an end or change of a resource's objects
// concerns.
func (r *Reconciler) watch(gr schema.GroupResource, object client.Object) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watched[gr] {
		return nil
	}
	kind := quota.For(gr)
	changes := handler.Funcs{
		// Admission has counted it; but a count may have written over that before the object was seen.
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			r.enqueue(ctx, kind, e.Object.GetNamespace(), q)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			if differs(kind, e.ObjectOld, e.ObjectNew, r.now()) {
				r.enqueue(ctx, kind, e.ObjectNew.GetNamespace(), q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			r.enqueue(ctx, kind, e.Object.GetNamespace(), q)
		},
	}
	if err := r.controller.Watch(source.Kind(r.mgr.GetCache(), object, handler.EventHandler(changes))); err != nil {
		return fmt.Errorf("watching %s: %w", gr, err)
	}
	r.watched[gr] = true
	return nil
}

// differs tells whether a change of an object can change what it counts for.
func differs(kind quota.Kind, old, now client.Object, at time.Time) bool {
	if _, looked := typed[kind.GroupResource]; !looked {
		return false
	}
	before, is := old.(*corev1.Pod)
	after, still := now.(*corev1.Pod)
	if is && still && !apiequality.Semantic.DeepEqual(before.Spec.ActiveDeadlineSeconds, after.Spec.ActiveDeadlineSeconds) {
		return true // it is of another scope
	}
	return !apiequality.Semantic.DeepEqual(kind.Usage(old, at), kind.Usage(now, at))
}

// enqueue adds the quotas of a namespace that count objects of a kind.
func (r *Reconciler) enqueue(ctx context.Context, kind quota.Kind, namespace string, to queue) {
	var list corev1.ResourceQuotaList
	if err := r.client.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Listing the quotas of a namespace", "namespace", namespace)
		return
	}
	for i := range list.Items {
		q := &list.Items[i]
		for name := range q.Spec.Hard {
			if len(kind.Names([]corev1.ResourceName{name})) > 0 {
				to.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: q.Name}})
				break
			}
		}
	}
}
