package nodelifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/outcome"
)

// DefaultGracePeriod is how long an agent may be silent, as in Kubernetes 1.32
// and newer.
const DefaultGracePeriod = 50 * time.Second

// lookAgain is how often a node that is not ready is looked at, since what is
// done about it depends on the others.
const lookAgain = 5 * time.Second

// Reconciler reconciles nodes.
type Reconciler struct {
	client   client.Client
	recorder record.EventRecorder
	grace    time.Duration
	rates    Rates
	now      func() time.Time
	health   *health
}

// New makes the reconciler with the manager's client. A grace period of 0 is
// DefaultGracePeriod; the zero value of rates is Kubernetes' default.
func New(mgr ctrl.Manager, grace time.Duration, rates Rates) *Reconciler {
	if grace == 0 {
		grace = DefaultGracePeriod
	}
	return &Reconciler{
		client: mgr.GetClient(), grace: grace, rates: rates.complete(), now: time.Now, health: newHealth(time.Now),
		recorder: mgr.GetEventRecorderFor("node-controller"), //nolint:staticcheck // events as Kubernetes has them, with a source
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := index.ByNode(mgr); err != nil {
		return err
	}
	forget := predicate.Funcs{DeleteFunc: func(e event.DeleteEvent) bool {
		r.health.forget(e.Object.GetName())
		r.recorder.Eventf(e.Object, corev1.EventTypeNormal, "RemovingNode", "Node %s event: Removing Node %s from Controller", e.Object.GetName(), e.Object.GetName())
		return false
	}}
	return ctrl.NewControllerManagedBy(mgr).
		Named("node-lifecycle-controller").
		For(&corev1.Node{}, builder.WithPredicates(forget)).
		Watches(&corev1.Node{}, r.places()).
		Watches(&coordinationv1.Lease{}, r.leases()).
		WithOptions(outcome.Options(5)).
		Complete(r)
}

// leases takes note of renewals. They need no reconciliation: what they put off
// is looked at when it would have been due.
func (r *Reconciler) leases() handler.EventHandler {
	note := func(o client.Object) {
		if lease, is := o.(*coordinationv1.Lease); is && o.GetNamespace() == corev1.NamespaceNodeLease {
			r.health.lease(o.GetName(), lease.Spec.RenewTime)
		}
	}
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ queue) { note(e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ queue) { note(e.ObjectNew) },
	}
}

// places takes note of nodes as they come, change and go.
func (r *Reconciler) places() handler.EventHandler {
	note := func(o client.Object) {
		if n, is := o.(*corev1.Node); is {
			r.health.count(n)
		}
	}
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ queue) { note(e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ queue) { note(e.ObjectNew) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ queue) { r.health.uncount(e.Object.GetName()) },
	}
}

// Reconcile brings the conditions and taints of one node, and the readiness of
// its pods, to what is known of its agent.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var n corev1.Node
	if err := r.client.Get(ctx, req.NamespacedName, &n); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	wait := r.health.node(&n).Add(r.grace).Sub(r.now())
	if wait <= 0 {
		if err := r.silence(ctx, &n); err != nil {
			return outcome.Of(ctrl.Result{}, err)
		}
		wait = lookAgain
	}
	ready := status(n.Status.Conditions, corev1.NodeReady) == corev1.ConditionTrue
	if !ready {
		wait = min(wait, lookAgain)
	}
	var errs []error
	if r.health.unmarked(n.Name, ready) {
		errs = append(errs, r.markPods(ctx, &n))
	}
	held, err := r.taint(ctx, &n)
	errs = append(errs, err)
	if held > 0 {
		wait = min(wait, held)
	}
	return outcome.Of(ctrl.Result{RequeueAfter: wait}, errors.Join(errs...))
}

// silence sets the conditions of a node whose agent is silent.
func (r *Reconciler) silence(ctx context.Context, n *corev1.Node) error {
	conditions, changed := silenced(n, metav1.NewTime(r.now()))
	if !changed {
		return nil
	}
	wasReady := status(n.Status.Conditions, corev1.NodeReady) == corev1.ConditionTrue
	before := n.DeepCopy()
	n.Status.Conditions = conditions
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.client.Status().Patch(ctx, n, patch); err != nil {
		return fmt.Errorf("setting the conditions of node %s: %w", n.Name, err)
	}
	if wasReady {
		klog.FromContext(ctx).Info("Node is silent", "node", n.Name, "grace", r.grace)
		r.recorder.Eventf(n, corev1.EventTypeNormal, "NodeNotReady", "Node %s status is now: NodeNotReady", n.Name)
	}
	return nil
}

// taint gives a node the taints it should have. It returns how long it must
// wait for its turn to be evicted, or 0.
func (r *Reconciler) taint(ctx context.Context, n *corev1.Node) (held time.Duration, _ error) {
	e := evict
	if noExecute(n) != "" {
		e, held = r.turn(n)
	}
	want, changed := taints(n, e, metav1.NewTime(r.now()))
	if !changed {
		return held, nil
	}
	before := n.DeepCopy()
	n.Spec.Taints = want
	if err := r.client.Patch(ctx, n, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return held, fmt.Errorf("setting the taints of node %s: %w", n.Name, err)
	}
	klog.FromContext(ctx).V(2).Info("Set taints", "node", n.Name, "taints", want)
	return held, nil
}

// turn tells what may be done about a node that is not ready, in view of the
// others.
func (r *Reconciler) turn(n *corev1.Node) (_ eviction, held time.Duration) {
	s := r.health.survey()
	switch {
	case s.cutOff():
		return spare, 0
	case evicting(n):
		return hold, 0
	}
	if due, wait := r.health.mayEvict(zoneOf(n), s.pace(zoneOf(n), r.rates)); !due {
		return hold, wait
	}
	return evict, 0
}

// markPods marks the pods of a node that is not ready as not ready. It does so
// once: if the agent lives and says otherwise, it is right.
func (r *Reconciler) markPods(ctx context.Context, n *corev1.Node) error {
	pods, err := index.PodsOn(ctx, r.client, n.Name)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range pods {
		i := readyCondition(p)
		if i < 0 {
			continue
		}
		marked := p.DeepCopy()
		marked.Status.Conditions[i].Status = corev1.ConditionFalse
		marked.Status.Conditions[i].LastTransitionTime = metav1.NewTime(r.now())
		patch := client.StrategicMergeFrom(p, client.MergeFromWithOptimisticLock{})
		if err := r.client.Status().Patch(ctx, marked, patch); client.IgnoreNotFound(err) != nil {
			errs = append(errs, fmt.Errorf("marking pod %s/%s not ready: %w", p.Namespace, p.Name, err))
			continue
		}
		r.recorder.Event(p, corev1.EventTypeWarning, "NodeNotReady", "Node is not ready")
	}
	if len(errs) == 0 {
		r.health.mark(n.Name)
	}
	return errors.Join(errs...)
}

// readyCondition finds the condition Ready of a pod if it is True, or is -1.
func readyCondition(p *corev1.Pod) int {
	for i, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return i
		}
	}
	return -1
}
