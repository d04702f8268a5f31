// Package podgc deletes pods that nobody else will: those that are bound to a
// node that no longer exists, those that are being deleted without ever having
// been bound, and the oldest of the finished ones when there are too many.
//
// It watches pods and nodes. A node counts as gone when it has been missing for
// the quarantine, and the API server itself says that it is not there. Pods are
// deleted without grace, since no agent would end it; those that had not
// finished are marked as failed first.
//
// Different from Kubernetes: it acts on events rather than looking at all pods
// every 20 seconds; the order in which finished pods are deleted is evicted ones
// first, then by age, as there.
package podgc

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/disruption"
	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/outcome"
)

// Defaults, as in Kubernetes.
const (
	DefaultThreshold  = 12500            // finished pods that are kept
	DefaultQuarantine = 40 * time.Second // until a missing node counts as gone
)

// pause is between two looks at the number of finished pods.
const pause = 20 * time.Second

// Reconciler reconciles nodes by their name, and finished pods as a whole under
// an empty name.
type Reconciler struct {
	// Threshold is how many finished pods are kept, Quarantine how long a node
	// must be missing. Set them before SetupWithManager.
	Threshold  int
	Quarantine time.Duration

	client client.Client
	live   client.Reader
	now    func() time.Time
	// missing is since when a node has been missing. There is one worker, so
	// nobody else touches it.
	missing map[string]time.Time
	counted time.Time
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		Threshold: DefaultThreshold, Quarantine: DefaultQuarantine,
		client: mgr.GetClient(), live: mgr.GetAPIReader(), now: time.Now, missing: map[string]time.Time{},
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := index.ByNode(mgr); err != nil {
		return err
	}
	deletion := predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("pod-garbage-collector-controller").
		For(&corev1.Node{}, builder.WithPredicates(deletion)).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.concerned), builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(e event.UpdateEvent) bool { return podMatters(e.ObjectOld, e.ObjectNew) },
			DeleteFunc: func(event.DeleteEvent) bool { return false },
		})).
		WithOptions(outcome.Options(1)).
		Complete(r)
}

// podMatters passes a pod that was bound, finished or is being deleted.
func podMatters(old, o client.Object) bool {
	before, was := old.(*corev1.Pod)
	p, is := o.(*corev1.Pod)
	return was && is && (before.Spec.NodeName != p.Spec.NodeName || finished(before) != finished(p) ||
		(before.DeletionTimestamp == nil) != (p.DeletionTimestamp == nil))
}

// concerned is what a pod gives cause to look at.
func (r *Reconciler) concerned(ctx context.Context, o client.Object) []reconcile.Request {
	p, is := o.(*corev1.Pod)
	if !is {
		return nil
	}
	var out []reconcile.Request
	if finished(p) {
		out = append(out, reconcile.Request{})
	}
	switch {
	case p.Spec.NodeName == "" && p.DeletionTimestamp != nil:
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(p)})
	case p.Spec.NodeName != "":
		name := types.NamespacedName{Name: p.Spec.NodeName}
		if err := r.client.Get(ctx, name, &corev1.Node{}); apierrors.IsNotFound(err) {
			out = append(out, reconcile.Request{NamespacedName: name})
		}
	}
	return out
}

// Reconcile looks at one node, at one pod that was never bound, or at the
// number of finished pods.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (result ctrl.Result, err error) {
	switch {
	case req.Name == "":
		result, err = r.limitFinished(ctx)
	case req.Namespace == "":
		result, err = r.emptyNode(ctx, req.Name)
	default:
		err = r.unbound(ctx, req.NamespacedName)
	}
	return outcome.Of(result, err)
}

// emptyNode deletes the pods of a node that is gone.
func (r *Reconciler) emptyNode(ctx context.Context, name string) (ctrl.Result, error) {
	var n corev1.Node
	err := r.client.Get(ctx, types.NamespacedName{Name: name}, &n)
	if err == nil || !apierrors.IsNotFound(err) {
		delete(r.missing, name)
		return ctrl.Result{}, err
	}
	if _, known := r.missing[name]; !known {
		r.missing[name] = r.now()
	}
	if wait := r.missing[name].Add(r.Quarantine).Sub(r.now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	if err := r.live.Get(ctx, types.NamespacedName{Name: name}, &n); err == nil || !apierrors.IsNotFound(err) {
		delete(r.missing, name)
		return ctrl.Result{}, err
	}
	pods, err := index.PodsOn(ctx, r.client, name)
	if err != nil {
		return ctrl.Result{}, err
	}
	var errs []error
	for _, p := range pods {
		errs = append(errs, r.remove(ctx, p, "node "+name+" is gone"))
	}
	if err := errors.Join(errs...); err != nil {
		return ctrl.Result{}, err
	}
	delete(r.missing, name)
	return ctrl.Result{}, nil
}

func (r *Reconciler) unbound(ctx context.Context, name types.NamespacedName) error {
	var p corev1.Pod
	if err := r.client.Get(ctx, name, &p); err != nil {
		return client.IgnoreNotFound(err)
	}
	if p.DeletionTimestamp == nil || p.Spec.NodeName != "" {
		return nil
	}
	return r.remove(ctx, &p, "it was never bound")
}

func (r *Reconciler) limitFinished(ctx context.Context) (ctrl.Result, error) {
	if r.Threshold <= 0 {
		return ctrl.Result{}, nil
	}
	if wait := r.counted.Add(pause).Sub(r.now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	r.counted = r.now()
	var all corev1.PodList
	if err := r.client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, fmt.Errorf("listing pods: %w", err)
	}
	var errs []error
	for _, p := range surplus(all.Items, r.Threshold) {
		errs = append(errs, r.remove(ctx, p, "too many pods have finished"))
	}
	return ctrl.Result{}, errors.Join(errs...)
}

// remove deletes a pod at once.
func (r *Reconciler) remove(ctx context.Context, p *corev1.Pod, why string) error {
	var err error
	if finished(p) {
		err = client.IgnoreNotFound(r.client.Delete(ctx, p, client.GracePeriodSeconds(0), client.Preconditions{UID: &p.UID}))
	} else {
		err = disruption.DeleteAs(ctx, r.client, p, corev1.PodFailed, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(r.now()),
			Reason: "DeletionByPodGC", Message: "PodGC: node no longer exists",
		}, client.GracePeriodSeconds(0))
	}
	if err != nil {
		return fmt.Errorf("collecting pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	klog.FromContext(ctx).Info("Collected pod", "pod", klog.KObj(p), "reason", why)
	return nil
}
