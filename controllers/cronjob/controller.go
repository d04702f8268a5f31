package cronjob

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/podcontrol"
	"coracle.dev/coracle/controllers/internal/podevent"
	"coracle.dev/coracle/controllers/internal/written"
)

var kind = batchv1.SchemeGroupVersion.WithKind("CronJob")

// behind is how soon a pass is repeated that found the cache behind.
const behind = 20 * time.Millisecond

// Reconciler reconciles CronJobs.
type Reconciler struct {
	client   client.Client
	live     client.Reader
	recorder record.EventRecorder
	written  *written.Versions
	now      func() time.Time
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		client:   mgr.GetClient(),
		live:     mgr.GetAPIReader(),
		recorder: mgr.GetEventRecorderFor("cronjob-controller"), //nolint:staticcheck // events as Kubernetes has them, with a source
		written:  written.New(),
		now:      moment.Now(mgr),
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := index.ByController(mgr, &batchv1.Job{}); err != nil {
		return err
	}
	forget := predicate.Funcs{DeleteFunc: func(e event.DeleteEvent) bool {
		r.written.Forget(e.Object.GetUID())
		return true
	}}
	return ctrl.NewControllerManagedBy(mgr).
		Named("cronjob-controller").
		For(&batchv1.CronJob{}, builder.WithPredicates(forget, predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&batchv1.Job{}, &podevent.Handler{Kind: kind}).
		WithOptions(outcome.Options(5, mgr)).
		Complete(r)
}

// Reconcile starts what is due of one cron job, and follows its jobs.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	cj := &batchv1.CronJob{}
	if err := r.client.Get(ctx, req.NamespacedName, cj); err != nil {
		return outcome.Of(ctrl.Result{}, client.IgnoreNotFound(err))
	}
	if r.written.Stale(cj) {
		return ctrl.Result{RequeueAfter: behind}, nil
	}
	o, err := r.observe(ctx, cj)
	if err != nil {
		return outcome.Of(ctrl.Result{}, err)
	}
	a := plan(o, r.now())
	return outcome.Of(ctrl.Result{RequeueAfter: a.after}, r.apply(ctx, cj, a))
}

func (r *Reconciler) observe(ctx context.Context, cj *batchv1.CronJob) (observed, error) {
	o := observed{cronJob: cj, gone: map[types.UID]bool{}}
	var list batchv1.JobList
	if err := r.client.List(ctx, &list, client.InNamespace(cj.Namespace), client.MatchingFields{index.Controller: string(cj.UID)}, client.UnsafeDisableDeepCopy); err != nil {
		return o, fmt.Errorf("listing jobs: %w", err)
	}
	known := map[types.UID]bool{}
	for i := range list.Items {
		known[list.Items[i].UID] = true
		o.jobs = append(o.jobs, &list.Items[i])
	}
	for _, ref := range cj.Status.Active {
		if known[ref.UID] {
			continue
		}
		// The cache may have yet to show it.
		live := &batchv1.Job{}
		err := r.live.Get(ctx, types.NamespacedName{Namespace: cj.Namespace, Name: ref.Name}, live)
		if client.IgnoreNotFound(err) != nil {
			return o, fmt.Errorf("reading job %s: %w", ref.Name, err)
		}
		o.gone[ref.UID] = err != nil || live.UID != ref.UID
	}
	return o, nil
}

// apply writes what was planned.
func (r *Reconciler) apply(ctx context.Context, cj *batchv1.CronJob, a actions) error {
	for _, e := range a.events {
		r.recorder.Event(cj, e.kind, e.reason, e.message)
	}
	for _, j := range a.replace {
		if err := r.remove(ctx, cj, j); err != nil {
			return err
		}
	}
	var failure error
	if a.create != nil {
		failure = r.create(ctx, cj, a.create, a.at, &a.status)
	}
	if err := r.writeStatus(ctx, cj, a.status); err != nil {
		return errors.Join(failure, err)
	}
	for _, j := range a.clean {
		if err := r.remove(ctx, cj, j); err != nil {
			return errors.Join(failure, err)
		}
	}
	return failure
}

// create creates a job, and notes it in the status.
func (r *Reconciler) create(ctx context.Context, cj *batchv1.CronJob, j *batchv1.Job, at time.Time, st *batchv1.CronJobStatus) error {
	err := r.client.Create(ctx, j)
	switch {
	case podcontrol.NamespaceTerminating(err):
		return nil
	case apierrors.IsAlreadyExists(err):
		return r.taken(ctx, cj, j, at, st, err)
	case err != nil:
		r.recorder.Eventf(cj, corev1.EventTypeWarning, podcontrol.FailedCreate, "Error creating job: %v", err)
		return fmt.Errorf("creating job %s: %w", j.Name, err)
	}
	klog.FromContext(ctx).V(2).Info("Created job", "job", klog.KObj(j), "scheduledTime", at)
	r.recorder.Eventf(cj, corev1.EventTypeNormal, podcontrol.SuccessfulCreate, "Created job %v", j.Name)
	st.Active = append(st.Active, reference(j))
	st.LastScheduleTime = &metav1.Time{Time: at}
	return nil
}

// taken tells apart why a job's name is taken: it was created for this time (or
// another one of this minute), and not noted; or it is another's, which is told.
func (r *Reconciler) taken(ctx context.Context, cj *batchv1.CronJob, j *batchv1.Job, at time.Time, st *batchv1.CronJobStatus, cause error) error {
	existing := &batchv1.Job{}
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(j), existing); err != nil {
		return fmt.Errorf("reading job %s, which exists: %w", j.Name, err)
	}
	if !metav1.IsControlledBy(existing, cj) {
		r.recorder.Eventf(cj, corev1.EventTypeWarning, podcontrol.FailedCreate, "Error creating job: %v", cause)
		return fmt.Errorf("creating job %s: %w", j.Name, cause)
	}
	st.LastScheduleTime = &metav1.Time{Time: at}
	for _, ref := range st.Active {
		if ref.UID == existing.UID {
			return nil
		}
	}
	if finished(existing) == "" {
		st.Active = append(st.Active, reference(existing))
	}
	return nil
}

func (r *Reconciler) remove(ctx context.Context, cj *batchv1.CronJob, j *batchv1.Job) error {
	err := r.client.Delete(ctx, j.DeepCopy(), client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &j.UID})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err): // gone, or replaced
		return nil
	case err != nil:
		r.recorder.Eventf(cj, corev1.EventTypeWarning, podcontrol.FailedDelete, "Deleted job: %v", err)
		return fmt.Errorf("deleting job %s: %w", j.Name, err)
	}
	klog.FromContext(ctx).V(2).Info("Deleted job", "job", klog.KObj(j))
	r.recorder.Eventf(cj, corev1.EventTypeNormal, podcontrol.SuccessfulDelete, "Deleted job %v", j.Name)
	return nil
}

func (r *Reconciler) writeStatus(ctx context.Context, cj *batchv1.CronJob, st batchv1.CronJobStatus) error {
	if apiequality.Semantic.DeepEqual(cj.Status, st) {
		return nil
	}
	cj.Status = st
	if err := r.client.Status().Update(ctx, cj); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	r.written.Note(cj)
	return nil
}
