// Package devicetaint evicts the pods that use devices with taints that they do
// not tolerate.
//
// It watches ResourceClaims and ResourceSlices. When a device that a claim has
// been given has a taint with the effect NoExecute which the claim does not
// tolerate, or not for so long, the pods for which the claim is reserved are
// deleted; the reason is in their condition DisruptionTarget.
//
// Different from Kubernetes: the taints of DeviceTaintRules are not looked at,
// since the kind is not served here.
package devicetaint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/disruption"
	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/podstatus"
)

const (
	claimsByPool = "status.allocation.pools"
	slicesByPool = "spec.pool"
)

// Reconciler reconciles claims.
type Reconciler struct {
	client   client.Client
	recorder record.EventRecorder
	now      func() time.Time
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		client: mgr.GetClient(), now: moment.Now(mgr),
		recorder: mgr.GetEventRecorderFor("device-taint-eviction"), //nolint:staticcheck // events as Kubernetes has them, with a source
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := errors.Join(index.Ensure(mgr, &resourcev1.ResourceClaim{}, claimsByPool, pools), index.Ensure(mgr, &resourcev1.ResourceSlice{}, slicesByPool, pools))
	if err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("device-taint-eviction-controller").
		For(&resourcev1.ResourceClaim{}).
		Watches(&resourcev1.ResourceSlice{}, handler.EnqueueRequestsFromMapFunc(r.ofSlice)).
		WithOptions(outcome.Options(2, mgr)).
		Complete(r)
}

// pools are the pools of a claim's devices, or of a slice.
func pools(o client.Object) (out []string) {
	switch o := o.(type) {
	case *resourcev1.ResourceSlice:
		out = append(out, o.Spec.Driver+"/"+o.Spec.Pool.Name)
	case *resourcev1.ResourceClaim:
		for d := range devices(o) {
			out = append(out, d.driver+"/"+d.pool)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ofSlice names the claims that have devices of the slice's pool.
func (r *Reconciler) ofSlice(ctx context.Context, o client.Object) (out []reconcile.Request) {
	for _, pool := range pools(o) {
		var claims resourcev1.ResourceClaimList
		if err := r.client.List(ctx, &claims, client.MatchingFields{claimsByPool: pool}, client.UnsafeDisableDeepCopy); err != nil {
			klog.FromContext(ctx).Error(err, "Finding the claims of a pool of devices", "pool", pool)
		}
		for i := range claims.Items {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&claims.Items[i])})
		}
	}
	return out
}

// Reconcile evicts the pods of one claim if they must leave.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	c := &resourcev1.ResourceClaim{}
	if err := r.client.Get(ctx, req.NamespacedName, c); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	var all []resourcev1.ResourceSlice
	for _, pool := range pools(c) {
		var list resourcev1.ResourceSliceList
		if err := r.client.List(ctx, &list, client.MatchingFields{slicesByPool: pool}, client.UnsafeDisableDeepCopy); err != nil {
			return ctrl.Result{}, fmt.Errorf("listing the devices of pool %s: %w", pool, err)
		}
		all = append(all, list.Items...)
	}
	now := r.now()
	due, ever := deadline(c, all, now)
	if !ever {
		return ctrl.Result{}, nil
	}
	if wait := due.Sub(now); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	var errs []error
	for _, ref := range c.Status.ReservedFor {
		if ref.APIGroup == "" && ref.Resource == "pods" {
			errs = append(errs, r.evict(ctx, types.NamespacedName{Namespace: c.Namespace, Name: ref.Name}, ref.UID))
		}
	}
	return outcome.Of(ctrl.Result{}, errors.Join(errs...))
}

func (r *Reconciler) evict(ctx context.Context, name types.NamespacedName, uid types.UID) error {
	p := &corev1.Pod{}
	if err := r.client.Get(ctx, name, p); err != nil || p.UID != uid || p.DeletionTimestamp != nil || podstatus.Finished(p) {
		return client.IgnoreNotFound(err)
	}
	r.recorder.Event(p, corev1.EventTypeNormal, "DeviceTaintManagerEviction", "Marking for deletion")
	err := disruption.Delete(ctx, r.client, p, corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(r.now()),
		Reason: "DeletionByDeviceTaintManager", Message: "Device Taint manager: deleting due to NoExecute taint",
	})
	if err != nil {
		return fmt.Errorf("evicting pod %s: %w", name, err)
	}
	klog.FromContext(ctx).Info("Evicted pod from a tainted device", "pod", name)
	return nil
}
