// Package tainteviction deletes pods from nodes whose NoExecute taints they do
// not tolerate, or tolerate no longer.
//
// It watches pods and nodes. A pod that tolerates all of its node's NoExecute
// taints stays for the shortest of the times that its tolerations give, counted
// from when the taint was added, or if the taint does not tell, from when this
// process first saw pod and taint together. The condition DisruptionTarget is
// written into the pod's status before it is deleted.
//
// Invariant: nothing is deleted from a node that the cache does not know.
package tainteviction

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

	"coracle.dev/coracle/controllers/internal/disruption"
	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
)

// Reconciler reconciles pods.
type Reconciler struct {
	client   client.Client
	recorder record.EventRecorder
	now      func() time.Time

	mu    sync.Mutex
	since map[types.NamespacedName]time.Time // when a pod was first seen under a taint
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		client: mgr.GetClient(), now: moment.Now(mgr), since: map[types.NamespacedName]time.Time{},
		recorder: mgr.GetEventRecorderFor("taint-eviction-controller"), //nolint:staticcheck // events as Kubernetes has them, with a source
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := index.ByNode(mgr); err != nil {
		return err
	}
	bound := predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return nodeName(e.Object) != "" },
		UpdateFunc: func(e event.UpdateEvent) bool { return podMatters(e.ObjectOld, e.ObjectNew) },
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("taint-eviction-controller").
		For(&corev1.Pod{}, builder.WithPredicates(bound)).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(r.podsOn), builder.WithPredicates(predicate.Funcs{
			CreateFunc: func(e event.CreateEvent) bool { return len(taintsOf(e.Object)) > 0 },
			UpdateFunc: func(e event.UpdateEvent) bool {
				return !apiequality.Semantic.DeepEqual(taintsOf(e.ObjectOld), taintsOf(e.ObjectNew))
			},
			DeleteFunc: func(event.DeleteEvent) bool { return false },
		})).
		WithOptions(outcome.Options(8, mgr)).
		Complete(r)
}

func (r *Reconciler) podsOn(ctx context.Context, o client.Object) []reconcile.Request {
	pods, err := index.PodsOn(ctx, r.client, o.GetName())
	if err != nil {
		klog.FromContext(ctx).Error(err, "Listing pods of a tainted node")
		return nil
	}
	var out []reconcile.Request
	for _, p := range pods {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(p)})
	}
	return out
}

// Reconcile deletes one pod when its time on a tainted node is over.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var p corev1.Pod
	if err := r.client.Get(ctx, req.NamespacedName, &p); err != nil {
		r.forget(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	var n corev1.Node
	if p.Spec.NodeName != "" {
		if err := r.client.Get(ctx, types.NamespacedName{Name: p.Spec.NodeName}, &n); client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, err
		}
	}
	bad := noExecute(&n)
	if len(bad) == 0 || p.DeletionTimestamp != nil {
		if r.forget(req.NamespacedName) && p.DeletionTimestamp == nil {
			r.recorder.Eventf(&p, corev1.EventTypeNormal, "TaintManagerEviction", "Cancelling deletion of Pod %s/%s", p.Namespace, p.Name)
		}
		return ctrl.Result{}, nil
	}
	due, ever := deadline(bad, p.Spec.Tolerations, r.firstSeen(req.NamespacedName))
	if !ever {
		return ctrl.Result{}, nil
	}
	if wait := due.Sub(r.now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	r.recorder.Eventf(&p, corev1.EventTypeNormal, "TaintManagerEviction", "Marking for deletion Pod %s/%s", p.Namespace, p.Name)
	condition := corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(r.now()),
		Reason: "DeletionByTaintManager", Message: "Taint manager: deleting due to NoExecute taint",
	}
	if err := disruption.Delete(ctx, r.client, &p, condition); err != nil {
		return outcome.Of(ctrl.Result{}, fmt.Errorf("evicting: %w", err))
	}
	klog.FromContext(ctx).Info("Deleted pod from tainted node", "node", n.Name)
	return ctrl.Result{}, nil
}

func (r *Reconciler) firstSeen(pod types.NamespacedName) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.since[pod]; !known {
		r.since[pod] = r.now()
	}
	return r.since[pod]
}

func (r *Reconciler) forget(pod types.NamespacedName) (known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known = r.since[pod]
	delete(r.since, pod)
	return known
}

func taintsOf(o client.Object) []corev1.Taint {
	if n, is := o.(*corev1.Node); is {
		return noExecute(n)
	}
	return nil
}

func nodeName(o client.Object) string {
	if p, is := o.(*corev1.Pod); is {
		return p.Spec.NodeName
	}
	return ""
}

func podMatters(old, o client.Object) bool {
	before, was := old.(*corev1.Pod)
	p, is := o.(*corev1.Pod)
	return was && is && p.Spec.NodeName != "" && (before.Spec.NodeName == "" ||
		(before.DeletionTimestamp == nil) != (p.DeletionTimestamp == nil) ||
		!apiequality.Semantic.DeepEqual(before.Spec.Tolerations, p.Spec.Tolerations))
}
