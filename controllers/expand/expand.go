// Package expand tells who is to make a volume larger when its claim asks for
// more.
//
// It watches claims. Of one that is bound and asks for more than it has, it
// writes the annotation volume.kubernetes.io/storage-resizer, which names the
// volume's driver or provisioner, and tells of it by an event. That program
// makes the volume larger, and writes the sizes.
//
// Different from Kubernetes: there are no volumes that are expanded by the
// controller itself.
package expand

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	volumehelper "k8s.io/component-helpers/storage/volume"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"coracle.dev/coracle/controllers/internal/outcome"
)

// ResizerAnnotation names the program that resizes a claim's volume.
const ResizerAnnotation = "volume.kubernetes.io/storage-resizer"

// Reconciler reconciles claims.
type Reconciler struct {
	client   client.Client
	recorder record.EventRecorder
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		client:   mgr.GetClient(),
		recorder: mgr.GetEventRecorderFor("volume_expand"), //nolint:staticcheck // events as Kubernetes has them, with a source
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("persistentvolume-expander-controller").
		For(&corev1.PersistentVolumeClaim{}, builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool {
			return grows(o.(*corev1.PersistentVolumeClaim))
		}))).
		WithOptions(outcome.Options(2)).
		Complete(r)
}

// grows tells whether a claim asks for more than it has.
func grows(c *corev1.PersistentVolumeClaim) bool {
	asks, has := c.Spec.Resources.Requests[corev1.ResourceStorage], c.Status.Capacity[corev1.ResourceStorage]
	return c.DeletionTimestamp == nil && c.Status.Phase == corev1.ClaimBound && c.Spec.VolumeName != "" && asks.Cmp(has) > 0
}

// Reconcile names the resizer of one claim.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	c := &corev1.PersistentVolumeClaim{}
	if err := r.client.Get(ctx, req.NamespacedName, c); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !grows(c) {
		return ctrl.Result{}, nil
	}
	v := &corev1.PersistentVolume{}
	if err := r.client.Get(ctx, types.NamespacedName{Name: c.Spec.VolumeName}, v); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if v.Spec.ClaimRef == nil || v.Spec.ClaimRef.UID != c.UID {
		return ctrl.Result{}, nil
	}
	name := resizer(v)
	if name == "" {
		r.recorder.Event(c, corev1.EventTypeNormal, "ExternalExpanding",
			"Ignoring the PVC: didn't find a plugin capable of expanding the volume; waiting for an external controller to process this PVC.")
		return ctrl.Result{}, nil
	}
	if c.Annotations[ResizerAnnotation] == name {
		return ctrl.Result{}, nil
	}
	before := c.DeepCopy()
	metav1.SetMetaDataAnnotation(&c.ObjectMeta, ResizerAnnotation, name)
	if err := r.client.Patch(ctx, c, client.MergeFrom(before)); err != nil {
		return outcome.Of(ctrl.Result{}, fmt.Errorf("naming the resizer of claim %s: %w", req, err))
	}
	r.recorder.Event(c, corev1.EventTypeNormal, "ExternalExpanding", "waiting for an external controller to expand this PVC")
	return ctrl.Result{}, nil
}

// resizer is the name of the program that made a volume, which can resize it.
func resizer(v *corev1.PersistentVolume) string {
	if v.Spec.CSI != nil {
		return v.Spec.CSI.Driver
	}
	return v.Annotations[volumehelper.AnnDynamicallyProvisioned]
}
