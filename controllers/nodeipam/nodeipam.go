// Package nodeipam gives each node a range of pod addresses out of the
// cluster's.
//
// It watches nodes, and writes spec.podCIDR and spec.podCIDRs of those that
// have none. A range that a node has, whoever gave it, is never changed, and
// none that overlaps with it is given to another node.
//
// Different from Kubernetes: one range for each node, of one address family;
// the ranges in use are read from the nodes each time, so there is no state to
// rebuild.
package nodeipam

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"coracle.dev/coracle/controllers/internal/outcome"
)

// Default sizes of a node's range, as in Kubernetes.
const (
	DefaultMask4 = 24
	DefaultMask6 = 64
)

// Reconciler reconciles nodes.
type Reconciler struct {
	client   client.Client
	recorder record.EventRecorder
	cluster  netip.Prefix
	bits     int
	// given are the ranges given to nodes, until the cache has them. There is
	// one worker, so nobody else touches it.
	given map[string]netip.Prefix
}

// New makes the reconciler, which divides cluster into ranges with prefixes of
// the given length. 0 is the default for the address family.
func New(mgr ctrl.Manager, cluster netip.Prefix, bits int) (*Reconciler, error) {
	if bits == 0 {
		bits = DefaultMask6
		if cluster.Addr().Is4() {
			bits = DefaultMask4
		}
	}
	if bits < cluster.Bits() || bits > cluster.Addr().BitLen() {
		return nil, fmt.Errorf("dividing %s among nodes: ranges of length /%d are not within it", cluster, bits)
	}
	return &Reconciler{
		client: mgr.GetClient(), cluster: cluster.Masked(), bits: bits, given: map[string]netip.Prefix{},
		recorder: mgr.GetEventRecorderFor("cidrAllocator"), //nolint:staticcheck // events as Kubernetes has them, with a source
	}, nil
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("node-ipam-controller").
		For(&corev1.Node{}, builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(e event.UpdateEvent) bool { return e.ObjectNew.GetGeneration() != e.ObjectOld.GetGeneration() },
		})).
		WithOptions(outcome.Options(1)).
		Complete(r)
}

// Reconcile gives one node its range.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var n corev1.Node
	if err := r.client.Get(ctx, req.NamespacedName, &n); err != nil {
		delete(r.given, req.Name)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if n.Spec.PodCIDR != "" || n.DeletionTimestamp != nil {
		delete(r.given, req.Name)
		return ctrl.Result{}, nil
	}
	prefix, known := r.given[n.Name]
	if !known {
		var all corev1.NodeList
		if err := r.client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
			return ctrl.Result{}, fmt.Errorf("listing nodes: %w", err)
		}
		var free bool
		if prefix, free = next(r.cluster, r.bits, r.used(all.Items)); !free {
			r.recorder.Eventf(&n, corev1.EventTypeNormal, "CIDRNotAvailable", "Node %s status is now: CIDRNotAvailable", n.Name)
			return ctrl.Result{}, fmt.Errorf("giving node %s a range: %s has none of length /%d left", n.Name, r.cluster, r.bits)
		}
	}
	before := n.DeepCopy()
	n.Spec.PodCIDR, n.Spec.PodCIDRs = prefix.String(), []string{prefix.String()}
	if err := r.client.Patch(ctx, &n, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return outcome.Of(ctrl.Result{}, fmt.Errorf("giving node %s a range: %w", n.Name, err))
	}
	r.given[n.Name] = prefix
	klog.FromContext(ctx).Info("Gave node a range of pod addresses", "node", n.Name, "podCIDR", prefix)
	return ctrl.Result{}, nil
}

// used are the ranges that nodes have, or have been given.
func (r *Reconciler) used(nodes []corev1.Node) (out []netip.Prefix) {
	for i := range nodes {
		for _, s := range slices.Concat(nodes[i].Spec.PodCIDRs, []string{nodes[i].Spec.PodCIDR}) {
			if p, err := netip.ParsePrefix(s); err == nil {
				out = append(out, p.Masked())
			}
		}
	}
	for _, p := range r.given {
		out = append(out, p)
	}
	return out
}
