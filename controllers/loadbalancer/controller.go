package loadbalancer

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/outcome"
)

// Reconciler reconciles services.
type Reconciler struct {
	client   client.Client
	recorder record.EventRecorder
	pools    []netip.Prefix
	// given are the addresses that services were given, until the cache has
	// them. There is one worker, so nobody else touches it.
	given map[types.NamespacedName][]netip.Addr
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager, pools []netip.Prefix) *Reconciler {
	return &Reconciler{
		client: mgr.GetClient(), pools: pools, given: map[types.NamespacedName][]netip.Addr{},
		recorder: mgr.GetEventRecorderFor("service-controller"), //nolint:staticcheck // events as Kubernetes has them, with a source
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("service-lb-controller").
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(r.concerned)).
		WithOptions(outcome.Options(1)).
		Complete(r)
}

// concerned names the service, and, if it may have given up an address, those
// that wait for one.
func (r *Reconciler) concerned(ctx context.Context, o client.Object) []reconcile.Request {
	out := []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(o)}}
	if s := o.(*corev1.Service); len(addresses(s)) == 0 && !slices.Contains(s.Finalizers, Finalizer) {
		return out
	}
	var all corev1.ServiceList
	if err := r.client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Listing services")
		return out
	}
	for i := range all.Items {
		if s := &all.Items[i]; wants(s) && len(s.Status.LoadBalancer.Ingress) == 0 {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(s)})
		}
	}
	return out
}

// Reconcile gives one service its addresses, or takes them back.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &corev1.Service{}
	if err := r.client.Get(ctx, req.NamespacedName, s); err != nil {
		delete(r.given, req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !wants(s) {
		return outcome.Of(ctrl.Result{}, r.release(ctx, s))
	}
	taken, err := r.taken(ctx, s)
	if err != nil {
		return ctrl.Result{}, err
	}
	ips, err := assign(s, r.pools, taken)
	if err != nil {
		// Only a change of this service or of another helps, and starts a pass.
		r.recorder.Eventf(s, corev1.EventTypeWarning, "SyncLoadBalancerFailed", "Error syncing load balancer: failed to ensure load balancer: %v", err)
		return outcome.Of(ctrl.Result{}, r.write(ctx, s, nil))
	}
	return outcome.Of(ctrl.Result{}, r.write(ctx, s, ips))
}

// taken are the addresses of other services. An address that two have is the
// older one's.
func (r *Reconciler) taken(ctx context.Context, s *corev1.Service) (map[netip.Addr]bool, error) {
	var all corev1.ServiceList
	if err := r.client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing services: %w", err)
	}
	own := addresses(s)
	out := map[netip.Addr]bool{}
	for i := range all.Items {
		o := &all.Items[i]
		if o.UID == s.UID {
			continue
		}
		for _, ip := range append(addresses(o), r.given[client.ObjectKeyFromObject(o)]...) {
			if !slices.Contains(own, ip) || older(o, s) {
				out[ip] = true
			}
		}
	}
	return out, nil
}

func older(a, b *corev1.Service) bool {
	if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
		return c < 0
	}
	return a.UID < b.UID
}

func (r *Reconciler) write(ctx context.Context, s *corev1.Service, ips []netip.Addr) error {
	if controllerutil.AddFinalizer(s, Finalizer) {
		if err := r.client.Update(ctx, s); err != nil {
			return fmt.Errorf("keeping service %s/%s: %w", s.Namespace, s.Name, err)
		}
		r.recorder.Event(s, corev1.EventTypeNormal, "EnsuringLoadBalancer", "Ensuring load balancer")
	}
	key := client.ObjectKeyFromObject(s)
	want := status(s, ips)
	if apiequality.Semantic.DeepEqual(want, s.Status.LoadBalancer) {
		delete(r.given, key)
		return nil
	}
	s.Status.LoadBalancer = want
	if err := r.client.Status().Update(ctx, s); err != nil {
		return fmt.Errorf("writing the addresses of service %s/%s: %w", s.Namespace, s.Name, err)
	}
	if r.given[key] = ips; len(ips) > 0 {
		r.recorder.Event(s, corev1.EventTypeNormal, "EnsuredLoadBalancer", "Ensured load balancer")
		klog.FromContext(ctx).Info("Gave service its addresses", "service", klog.KObj(s), "addresses", ips)
	}
	return nil
}

// release takes back what a service had of this controller.
func (r *Reconciler) release(ctx context.Context, s *corev1.Service) error {
	if !slices.Contains(s.Finalizers, Finalizer) || s.Spec.LoadBalancerClass != nil && *s.Spec.LoadBalancerClass != Class {
		return nil
	}
	if len(s.Status.LoadBalancer.Ingress) > 0 && s.DeletionTimestamp == nil {
		s.Status.LoadBalancer = corev1.LoadBalancerStatus{}
		if err := r.client.Status().Update(ctx, s); err != nil {
			return fmt.Errorf("taking back the addresses of service %s/%s: %w", s.Namespace, s.Name, err)
		}
	}
	controllerutil.RemoveFinalizer(s, Finalizer)
	if err := r.client.Update(ctx, s); err != nil {
		return fmt.Errorf("letting go of service %s/%s: %w", s.Namespace, s.Name, err)
	}
	delete(r.given, client.ObjectKeyFromObject(s))
	r.recorder.Event(s, corev1.EventTypeNormal, "DeletedLoadBalancer", "Deleted load balancer")
	return nil
}
