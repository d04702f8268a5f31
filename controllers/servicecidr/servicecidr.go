// Package servicecidr keeps ranges of service addresses that are in use from
// going away.
//
// It watches ServiceCIDRs and IPAddresses, and owns the finalizer
// networking.k8s.io/service-cidr-finalizer and the condition Ready of
// ServiceCIDRs. A range is in use by an address of it that is in no other range
// which stays.
//
// Invariants: a range that is deleted is not let go before ten seconds have
// passed, in which API servers stop giving addresses out of it; the API server
// itself, not the cache, is asked whether addresses are left.
package servicecidr

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
)

// Finalizer is what protects a range.
const Finalizer = "networking.k8s.io/service-cidr-finalizer"

const (
	// grace is for API servers to hear that a range is going.
	grace = 10 * time.Second
	// slow is how often addresses are looked for while a range waits.
	slow = 30 * time.Second

	readyMessage       = "Kubernetes Service CIDR is ready"
	terminatingMessage = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
)

// Reconciler reconciles ServiceCIDRs.
type Reconciler struct {
	client client.Client
	live   client.Reader
	now    func() time.Time
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{client: mgr.GetClient(), live: mgr.GetAPIReader(), now: moment.Now(mgr)}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	gone := predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("service-cidr-controller").
		For(&networkingv1.ServiceCIDR{}).
		Watches(&networkingv1.ServiceCIDR{}, handler.EnqueueRequestsFromMapFunc(r.waiting)).
		Watches(&networkingv1.IPAddress{}, handler.EnqueueRequestsFromMapFunc(r.waiting), builder.WithPredicates(gone)).
		WithOptions(outcome.Options(1, mgr)).
		Complete(r)
}

// waiting names the ranges that wait to go.
func (r *Reconciler) waiting(ctx context.Context, _ client.Object) (out []reconcile.Request) {
	var all networkingv1.ServiceCIDRList
	if err := r.client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Listing ranges of service addresses")
		return nil
	}
	for i := range all.Items {
		if all.Items[i].DeletionTimestamp != nil {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return out
}

// Reconcile looks at the finalizer and the condition of one range.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o := &networkingv1.ServiceCIDR{}
	if err := r.client.Get(ctx, req.NamespacedName, o); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if o.DeletionTimestamp == nil {
		return outcome.Of(ctrl.Result{}, r.keep(ctx, o))
	}
	if !slices.Contains(o.Finalizers, Finalizer) {
		return ctrl.Result{}, nil
	}
	if err := r.condition(ctx, o, metav1.ConditionFalse, networkingv1.ServiceCIDRReasonTerminating, terminatingMessage); err != nil {
		return outcome.Of(ctrl.Result{}, err)
	}
	if wait := o.DeletionTimestamp.Add(grace).Sub(r.now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	used, err := r.used(ctx, o)
	if err != nil {
		return ctrl.Result{}, err
	}
	if used != "" {
		klog.FromContext(ctx).V(2).Info("Kept a range that is in use", "serviceCIDR", o.Name, "address", used)
		return ctrl.Result{RequeueAfter: slow}, nil
	}
	controllerutil.RemoveFinalizer(o, Finalizer)
	if err := r.client.Update(ctx, o); err != nil {
		return outcome.Of(ctrl.Result{}, fmt.Errorf("letting go of range %s: %w", o.Name, err))
	}
	return ctrl.Result{}, nil
}

func (r *Reconciler) keep(ctx context.Context, o *networkingv1.ServiceCIDR) error {
	if controllerutil.AddFinalizer(o, Finalizer) {
		if err := r.client.Update(ctx, o); err != nil {
			return fmt.Errorf("keeping range %s: %w", o.Name, err)
		}
	}
	if meta.IsStatusConditionTrue(o.Status.Conditions, networkingv1.ServiceCIDRConditionReady) {
		return nil
	}
	return r.condition(ctx, o, metav1.ConditionTrue, "", readyMessage)
}

func (r *Reconciler) condition(ctx context.Context, o *networkingv1.ServiceCIDR, status metav1.ConditionStatus, reason, message string) error {
	changed := meta.SetStatusCondition(&o.Status.Conditions, metav1.Condition{
		Type: networkingv1.ServiceCIDRConditionReady, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(r.now()),
	})
	if !changed {
		return nil
	}
	if err := r.client.Status().Update(ctx, o); err != nil {
		return fmt.Errorf("writing the status of range %s: %w", o.Name, err)
	}
	return nil
}

// used is an address that only this range holds; empty if there is none.
func (r *Reconciler) used(ctx context.Context, o *networkingv1.ServiceCIDR) (string, error) {
	var ranges networkingv1.ServiceCIDRList
	if err := r.live.List(ctx, &ranges); err != nil {
		return "", fmt.Errorf("listing ranges of service addresses: %w", err)
	}
	var others []netip.Prefix
	for i := range ranges.Items {
		if other := &ranges.Items[i]; other.UID != o.UID && other.DeletionTimestamp == nil {
			others = append(others, prefixes(other)...)
		}
	}
	var addresses networkingv1.IPAddressList
	if err := r.live.List(ctx, &addresses); err != nil {
		return "", fmt.Errorf("listing addresses: %w", err)
	}
	var names []string
	for i := range addresses.Items {
		names = append(names, addresses.Items[i].Name)
	}
	return orphan(names, prefixes(o), others), nil
}

// orphan is the first of the addresses that is in one of the ranges and in none
// of the others.
func orphan(addresses []string, ranges, others []netip.Prefix) string {
	in := func(ps []netip.Prefix, ip netip.Addr) bool {
		return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	for _, a := range addresses {
		if ip, err := netip.ParseAddr(a); err == nil && in(ranges, ip) && !in(others, ip) {
			return a
		}
	}
	return ""
}

func prefixes(o *networkingv1.ServiceCIDR) (out []netip.Prefix) {
	for _, text := range o.Spec.CIDRs {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p)
		}
	}
	return out
}
