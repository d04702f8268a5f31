package endpointslicemirroring

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	endpointsliceutil "k8s.io/endpointslice/util"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/podcontrol"
	"coracle.dev/coracle/controllers/internal/slice"
)

// errStale is why a pass is repeated before it began.
var errStale = errors.New("the cache does not hold the slices last written")

// Reconciler reconciles Endpoints: it writes the slices that mirror them.
type Reconciler struct {
	client  client.Client
	tracker *endpointsliceutil.EndpointSliceTracker
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{client: mgr.GetClient(), tracker: endpointsliceutil.NewEndpointSliceTracker()}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := slice.Index(mgr); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("endpointslice-mirroring-controller").
		For(&corev1.Endpoints{}). //nolint:staticcheck // they are deprecated, not gone
		Watches(&corev1.Service{}, &handler.EnqueueRequestForObject{}).
		Watches(&discoveryv1.EndpointSlice{}, slice.Handler{Manager: managerName, Tracker: r.tracker}).
		WithOptions(outcome.Options(5)).
		Complete(r)
}

// Reconcile mirrors one Endpoints object.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ep, svc, err := r.observe(ctx, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	existing, err := slice.List(ctx, r.client, managerName, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	if ep == nil || !mirrored(ep, svc) {
		r.tracker.DeleteService(req.Namespace, req.Name)
		return outcome.Of(ctrl.Result{}, r.remove(ctx, existing))
	}
	if r.tracker.StaleSlices(svc, existing) {
		return outcome.Of(ctrl.Result{}, apierrors.NewConflict(discoveryv1.Resource("endpointslices"), ep.Name, errStale))
	}
	err = r.apply(ctx, plan(ep, existing))
	if podcontrol.NamespaceTerminating(err) {
		return ctrl.Result{}, nil
	}
	return outcome.Of(ctrl.Result{}, err)
}

// observe reads the Endpoints and the service of the same name; what does not
// exist is nil.
func (r *Reconciler) observe(ctx context.Context, name types.NamespacedName) (*corev1.Endpoints, *corev1.Service, error) { //nolint:staticcheck // they are deprecated, not gone
	ep, svc := &corev1.Endpoints{}, &corev1.Service{} //nolint:staticcheck // they are deprecated, not gone
	if err := r.client.Get(ctx, name, ep); apierrors.IsNotFound(err) {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	if err := r.client.Get(ctx, name, svc); apierrors.IsNotFound(err) {
		return ep, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	return ep, svc, nil
}

func (r *Reconciler) apply(ctx context.Context, a actions) error {
	var errs []error
	for _, s := range a.create {
		if err := r.client.Create(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("creating an endpoint slice: %w", err))
		} else {
			r.tracker.Update(s)
		}
	}
	for _, s := range a.update {
		if err := r.client.Update(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("updating endpoint slice %s: %w", s.Name, err))
		} else {
			r.tracker.Update(s)
		}
	}
	for _, s := range a.remove {
		err := r.client.Delete(ctx, s, client.Preconditions{UID: &s.UID})
		if client.IgnoreNotFound(err) != nil {
			errs = append(errs, fmt.Errorf("deleting endpoint slice %s: %w", s.Name, err))
		} else {
			r.tracker.ExpectDeletion(s)
		}
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// remove deletes slices that mirror nothing any more.
func (r *Reconciler) remove(ctx context.Context, slices []*discoveryv1.EndpointSlice) error {
	for _, s := range slices {
		err := r.client.Delete(ctx, s, client.Preconditions{UID: &s.UID})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting endpoint slice %s: %w", s.Name, err)
		}
	}
	return nil
}
