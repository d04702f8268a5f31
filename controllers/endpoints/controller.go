package endpoints

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	endpointsliceutil "k8s.io/endpointslice/util"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/pace"
	"coracle.dev/coracle/controllers/internal/podcontrol"
	"coracle.dev/coracle/controllers/internal/service"
)

// Reconciler reconciles services: it writes their Endpoints.
type Reconciler struct {
	client   client.Client
	recorder record.EventRecorder
	triggers *endpointsliceutil.TriggerTimeTracker
	pace     *pace.Limiter
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		client:   mgr.GetClient(),
		recorder: mgr.GetEventRecorderFor("endpoint-controller"), //nolint:staticcheck // events as Kubernetes has them, with a source
		triggers: endpointsliceutil.NewTriggerTimeTracker(),
		pace:     pace.New(time.Now),
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	// Endpoints that carry no label of ours were written by hand, perhaps
	// before their service.
	ours := predicate.NewPredicateFuncs(func(obj client.Object) bool {
		return obj.GetLabels()[managedByLabel] == managerName
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("endpoint-controller").
		For(&corev1.Service{}).
		Watches(&corev1.Pod{}, service.PodHandler{Reader: mgr.GetClient()}).
		Watches(&corev1.Endpoints{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(ours)). //nolint:staticcheck // they are deprecated, not gone
		WithOptions(outcome.Options(5)).
		Complete(r)
}

// Reconcile writes the Endpoints of one service.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if wait := r.pace.Wait(req.NamespacedName); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	svc := &corev1.Service{}
	err := r.client.Get(ctx, req.NamespacedName, svc)
	if apierrors.IsNotFound(err) {
		return outcome.Of(ctrl.Result{}, r.remove(ctx, req.NamespacedName))
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if svc.Spec.Selector == nil || svc.Spec.Type == corev1.ServiceTypeExternalName || svc.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	pods, err := service.Pods(ctx, r.client, svc)
	if err != nil {
		return ctrl.Result{}, err
	}
	r.pace.Done(req.NamespacedName, len(pods))
	present := &corev1.Endpoints{} //nolint:staticcheck // they are deprecated, not gone
	if err := r.client.Get(ctx, req.NamespacedName, present); apierrors.IsNotFound(err) {
		present = nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	trigger := ""
	if t := r.triggers.ComputeEndpointLastChangeTriggerTime(svc.Namespace, svc, pods); !t.IsZero() {
		trigger = t.UTC().Format(time.RFC3339Nano)
	}
	want, changed := plan(svc, pods, present, trigger)
	if !changed {
		return ctrl.Result{}, nil
	}
	return outcome.Of(ctrl.Result{}, r.write(ctx, svc, present, want))
}

func (r *Reconciler) write(ctx context.Context, svc *corev1.Service, present, want *corev1.Endpoints) error { //nolint:staticcheck // they are deprecated, not gone
	if present == nil {
		err := r.client.Create(ctx, want)
		switch {
		case err == nil, podcontrol.NamespaceTerminating(err):
			return nil
		case apierrors.IsAlreadyExists(err):
			// The cache does not show them yet; it is the same as a conflict.
			return apierrors.NewConflict(corev1.Resource("endpoints"), want.Name, err)
		}
		r.recorder.Eventf(svc, corev1.EventTypeWarning, "FailedToCreateEndpoint",
			"Failed to create endpoint for service %v/%v: %v", svc.Namespace, svc.Name, err)
		return fmt.Errorf("creating endpoints %s: %w", want.Name, err)
	}
	err := r.client.Update(ctx, want)
	if err == nil || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return err
	}
	r.recorder.Eventf(svc, corev1.EventTypeWarning, "FailedToUpdateEndpoint",
		"Failed to update endpoint %v/%v: %v", want.Namespace, want.Name, err)
	return fmt.Errorf("updating endpoints %s: %w", want.Name, err)
}

// remove deletes the Endpoints of a service that is gone.
func (r *Reconciler) remove(ctx context.Context, name types.NamespacedName) error {
	r.triggers.DeleteService(name.Namespace, name.Name)
	r.pace.Forget(name)
	present := &corev1.Endpoints{} //nolint:staticcheck // they are deprecated, not gone
	if err := r.client.Get(ctx, name, present); err != nil {
		return client.IgnoreNotFound(err)
	}
	err := r.client.Delete(ctx, present, client.Preconditions{UID: &present.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting endpoints %s: %w", name.Name, err)
	}
	return nil
}
