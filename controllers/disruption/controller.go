package disruption

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/pace"
	"coracle.dev/coracle/controllers/internal/podstatus"
)

// Reconciler reconciles PodDisruptionBudgets.
type Reconciler struct {
	client   client.Client
	live     client.Reader
	recorder record.EventRecorder
	pace     *pace.Limiter
	now      func() time.Time
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		client:   mgr.GetClient(),
		live:     mgr.GetAPIReader(),
		recorder: mgr.GetEventRecorderFor("controllermanager"), //nolint:staticcheck // events as Kubernetes has them, with a source
		pace:     pace.New(time.Now),
		now:      moment.Now(mgr),
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("disruption-controller").
		For(&policyv1.PodDisruptionBudget{}).
		Watches(&corev1.Pod{}, r.onPods()).
		Watches(&appsv1.Deployment{}, r.onScale(func(o client.Object) *int32 { return o.(*appsv1.Deployment).Spec.Replicas })).
		Watches(&appsv1.ReplicaSet{}, r.onScale(func(o client.Object) *int32 { return o.(*appsv1.ReplicaSet).Spec.Replicas })).
		Watches(&appsv1.StatefulSet{}, r.onScale(func(o client.Object) *int32 { return o.(*appsv1.StatefulSet).Spec.Replicas })).
		Watches(&corev1.ReplicationController{}, r.onScale(func(o client.Object) *int32 { return o.(*corev1.ReplicationController).Spec.Replicas })).
		WithOptions(outcome.Options(2, mgr)).
		Complete(r)
	if err != nil {
		return err
	}
	return r.setUpStale(mgr)
}

// Reconcile computes the status of one budget.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if wait := r.pace.Wait(req.NamespacedName); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	b := &policyv1.PodDisruptionBudget{}
	if err := r.client.Get(ctx, req.NamespacedName, b); err != nil {
		r.pace.Forget(req.NamespacedName)
		return outcome.Of(ctrl.Result{}, client.IgnoreNotFound(err))
	}
	if b.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	o, err := r.observe(ctx, b)
	if err != nil {
		return outcome.Of(ctrl.Result{}, err)
	}
	r.pace.Done(req.NamespacedName, len(o.pods))
	a := plan(o, r.now())
	for _, p := range a.notDeleted {
		r.recorder.Eventf(p, corev1.EventTypeWarning, "NotDeleted", "Pod was expected by PDB %s/%s to be deleted but it wasn't", b.Namespace, b.Name)
	}
	// A failure is in the status, and tried again.
	return outcome.Of(ctrl.Result{RequeueAfter: a.after}, errors.Join(r.writeStatus(ctx, b, a.status), o.failure))
}

func (r *Reconciler) observe(ctx context.Context, b *policyv1.PodDisruptionBudget) (observed, error) {
	o := observed{budget: b}
	selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	if err != nil {
		o.failure = fmt.Errorf("reading the selector: %w", err)
		return o, nil
	}
	var list corev1.PodList
	if err := r.client.List(ctx, &list, client.InNamespace(b.Namespace), client.MatchingLabelsSelector{Selector: selector}, client.UnsafeDisableDeepCopy); err != nil {
		return o, fmt.Errorf("listing pods: %w", err)
	}
	for i := range list.Items {
		o.pods = append(o.pods, &list.Items[i])
	}
	if len(o.pods) == 0 {
		r.recorder.Event(b, corev1.EventTypeNormal, "NoPods", "No matching pods found")
	}
	if !byScale(b) {
		return o, nil
	}
	var unmanaged []*corev1.Pod
	o.scale, unmanaged, o.failure = r.scaleOf(ctx, b.Namespace, o.pods)
	if o.failure != nil {
		r.recorder.Eventf(b, corev1.EventTypeWarning, "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %v", o.failure)
	}
	if len(unmanaged) > 0 {
		r.recorder.Eventf(b, corev1.EventTypeWarning, "UnmanagedPods", "Pods selected by this PodDisruptionBudget (selector: %v) were found to be unmanaged. "+
			"As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. "+
			"To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.", selector)
	}
	return o, nil
}

// writeStatus fails with a conflict where an eviction was granted meanwhile.
func (r *Reconciler) writeStatus(ctx context.Context, b *policyv1.PodDisruptionBudget, st policyv1.PodDisruptionBudgetStatus) error {
	if apiequality.Semantic.DeepEqual(b.Status, st) {
		return nil
	}
	b.Status = st
	if err := r.client.Status().Update(ctx, b); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	return nil
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// onPods enqueues the budgets that count a pod, or did.
func (r *Reconciler) onPods() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			r.enqueue(ctx, q, e.Object.GetNamespace(), e.Object.GetLabels())
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			was, is := e.ObjectOld.(*corev1.Pod), e.ObjectNew.(*corev1.Pod)
			relabelled := !labels.Equals(was.Labels, is.Labels)
			if relabelled || podstatus.Ready(was) != podstatus.Ready(is) || (was.DeletionTimestamp == nil) != (is.DeletionTimestamp == nil) ||
				len(was.OwnerReferences) != len(is.OwnerReferences) {
				r.enqueue(ctx, q, is.Namespace, is.Labels)
			}
			if relabelled {
				r.enqueue(ctx, q, was.Namespace, was.Labels)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			r.enqueue(ctx, q, e.Object.GetNamespace(), e.Object.GetLabels())
		},
	}
}

// onScale enqueues the budgets that depend on scale when an owner's changes.
func (r *Reconciler) onScale(replicas func(client.Object) *int32) handler.EventHandler {
	return handler.Funcs{UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
		if number(replicas(e.ObjectOld)) == number(replicas(e.ObjectNew)) {
			return
		}
		for _, b := range r.budgets(ctx, e.ObjectNew.GetNamespace()) {
			if byScale(&b) {
				q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&b)})
			}
		}
	}}
}

func (r *Reconciler) enqueue(ctx context.Context, q queue, namespace string, set labels.Set) {
	for _, b := range r.budgets(ctx, namespace) {
		if selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector); err == nil && selector.Matches(set) {
			q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&b)})
		}
	}
}

func (r *Reconciler) budgets(ctx context.Context, namespace string) []policyv1.PodDisruptionBudget {
	var list policyv1.PodDisruptionBudgetList
	if err := r.client.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Listing disruption budgets", "namespace", namespace)
	}
	return list.Items
}
