package job

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
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
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"coracle.dev/coracle/controllers/internal/expectation"
	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/owner"
	"coracle.dev/coracle/controllers/internal/pace"
	"coracle.dev/coracle/controllers/internal/podcontrol"
	"coracle.dev/coracle/controllers/internal/podevent"
	"coracle.dev/coracle/controllers/internal/written"
)

var kind = batchv1.SchemeGroupVersion.WithKind("Job")

// trackedIndex is the index of pods that have the finalizer, by the name of
// their job: of a job that is gone that is all there is to go by.
const trackedIndex = "trackedByJob"

// Reconciler reconciles Jobs.
type Reconciler struct {
	client  client.Client
	live    client.Reader
	pods    podcontrol.Control
	expect  *expectation.Tracker
	pace    *pace.Limiter
	written *written.Versions
	now     func() time.Time
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		client:  mgr.GetClient(),
		live:    mgr.GetAPIReader(),
		pods:    podcontrol.Control{Client: mgr.GetClient(), Recorder: recorder(mgr)},
		expect:  expectation.New(time.Now),
		pace:    pace.New(time.Now),
		written: written.New(),
		now:     moment.Now(mgr),
	}
}

func recorder(mgr ctrl.Manager) record.EventRecorder {
	return mgr.GetEventRecorderFor("job-controller") //nolint:staticcheck // events as Kubernetes has them, with a source
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := index.ByController(mgr, &corev1.Pod{}); err != nil {
		return err
	}
	if err := index.Ensure(mgr, &corev1.Pod{}, trackedIndex, trackedKeys); err != nil {
		return err
	}
	forget := predicate.Funcs{DeleteFunc: func(e event.DeleteEvent) bool {
		r.expect.Forget(e.Object.GetUID())
		r.written.Forget(e.Object.GetUID())
		r.pace.Forget(client.ObjectKeyFromObject(e.Object))
		return true
	}}
	return ctrl.NewControllerManagedBy(mgr).
		Named("job-controller").
		For(&batchv1.Job{}, builder.WithPredicates(forget)).
		Watches(&corev1.Pod{}, &podevent.Handler{Kind: kind, Tracker: r.expect, Adopters: r.adopters}).
		WithOptions(outcome.Options(5, mgr)).
		Complete(r)
}

func trackedKeys(obj client.Object) []string {
	if p, ok := obj.(*corev1.Pod); ok && tracked(p) {
		return []string{jobName(p)}
	}
	return nil
}

// jobName is the name of the pod's job, whether that still exists or not.
func jobName(obj client.Object) string {
	if ref := metav1.GetControllerOfNoCopy(obj); ref != nil && ref.Kind == kind.Kind {
		return ref.Name
	}
	return obj.GetLabels()[batchv1.JobNameLabel]
}

// Reconcile takes one job on towards its end.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if wait := r.pace.Wait(req.NamespacedName); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	j := &batchv1.Job{}
	err := r.client.Get(ctx, req.NamespacedName, j)
	if apierrors.IsNotFound(err) {
		return outcome.Of(ctrl.Result{}, r.untrackStrays(ctx, req.NamespacedName, nil))
	}
	if err != nil {
		return outcome.Of(ctrl.Result{}, err)
	}
	if j.Spec.ManagedBy != nil && *j.Spec.ManagedBy != batchv1.JobControllerName {
		return ctrl.Result{}, nil
	}
	if r.written.Stale(j) {
		return ctrl.Result{}, nil // the event that brings the later version brings us back
	}
	if finished(j) || j.DeletionTimestamp != nil {
		return outcome.Of(ctrl.Result{}, r.untrackStrays(ctx, req.NamespacedName, nil))
	}
	// Asked before the pods are listed: what the tracker has seen, the list has.
	settled := r.expect.Satisfied(j.UID)
	pods, err := r.observe(ctx, j)
	r.pace.Done(req.NamespacedName, len(pods))
	if err != nil {
		return outcome.Of(ctrl.Result{}, err)
	}
	if err := r.untrackStrays(ctx, req.NamespacedName, j); err != nil {
		return outcome.Of(ctrl.Result{}, err)
	}
	a := plan(observed{job: j, pods: pods, settled: settled}, r.now())
	return outcome.Of(ctrl.Result{RequeueAfter: a.after}, r.apply(ctx, j, a))
}

// observe returns the job's pods, after adopting and releasing.
func (r *Reconciler) observe(ctx context.Context, j *batchv1.Job) ([]*corev1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("reading the selector: %w", err)
	}
	owned, err := index.PodsOf(ctx, r.client, j.Namespace, j.UID)
	if err != nil {
		return nil, err
	}
	orphans, err := index.OrphanPods(ctx, r.client, j.Namespace)
	if err != nil {
		return nil, err
	}
	claimer := &owner.Claimer{Client: r.client, Live: r.live, Controller: j, Kind: kind, Selector: selector}
	return claimer.Pods(ctx, append(owned, orphans...))
}

// adopters names the jobs that an orphan concerns: those that select it, and
// the one whose finalizer it still has.
func (r *Reconciler) adopters(ctx context.Context, orphan client.Object) []types.NamespacedName {
	var names []types.NamespacedName
	if p, ok := orphan.(*corev1.Pod); ok && tracked(p) && jobName(p) != "" {
		names = append(names, types.NamespacedName{Namespace: p.Namespace, Name: jobName(p)})
	}
	var list batchv1.JobList
	if err := r.client.List(ctx, &list, client.InNamespace(orphan.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Listing who may adopt", "object", klog.KObj(orphan))
		return names
	}
	for i := range list.Items {
		selector, err := metav1.LabelSelectorAsSelector(list.Items[i].Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(orphan.GetLabels())) {
			names = append(names, client.ObjectKeyFromObject(&list.Items[i]))
		}
	}
	return names
}
