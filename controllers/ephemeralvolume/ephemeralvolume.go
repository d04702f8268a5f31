// Package ephemeralvolume makes the claims of pods' ephemeral volumes.
//
// It watches pods and claims. For each ephemeral volume of a pod that is not
// being deleted it creates the claim POD-VOLUME from the volume's template, which
// the pod controls, so that the garbage collector deletes it after the pod. A
// claim of that name that is not the pod's is left alone; the pod does not start.
package ephemeralvolume

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/component-helpers/storage/ephemeral"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"coracle.dev/coracle/controllers/internal/outcome"
)

// Reconciler reconciles pods.
type Reconciler struct {
	client   client.Client
	recorder record.EventRecorder
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		client:   mgr.GetClient(),
		recorder: mgr.GetEventRecorderFor("ephemeral_volume"), //nolint:staticcheck // events as Kubernetes has them, with a source
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	created := predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return needs(e.Object.(*corev1.Pod)) },
		UpdateFunc: func(event.UpdateEvent) bool { return false }, // volumes do not change
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	}
	deleted := predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("ephemeral-volume-controller").
		For(&corev1.Pod{}, builder.WithPredicates(created)).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestForOwner(mgr.GetScheme(), mgr.GetRESTMapper(), &corev1.Pod{}, handler.OnlyControllerOwner()),
			builder.WithPredicates(deleted)).
		WithOptions(outcome.Options(4)).
		Complete(r)
}

func needs(p *corev1.Pod) bool {
	for i := range p.Spec.Volumes {
		if p.Spec.Volumes[i].Ephemeral != nil {
			return p.DeletionTimestamp == nil
		}
	}
	return false
}

// Reconcile makes what claims of one pod are missing.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	p := &corev1.Pod{}
	if err := r.client.Get(ctx, req.NamespacedName, p); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !needs(p) {
		return ctrl.Result{}, nil
	}
	var errs []error
	for i := range p.Spec.Volumes {
		if v := &p.Spec.Volumes[i]; v.Ephemeral != nil {
			errs = append(errs, r.ensure(ctx, p, v))
		}
	}
	return outcome.Of(ctrl.Result{}, errors.Join(errs...))
}

func (r *Reconciler) ensure(ctx context.Context, p *corev1.Pod, v *corev1.Volume) error {
	want := claim(p, v)
	have := &corev1.PersistentVolumeClaim{}
	err := r.client.Get(ctx, types.NamespacedName{Namespace: p.Namespace, Name: want.Name}, have)
	switch {
	case err == nil:
		err = ephemeral.VolumeIsForPod(p, have)
	case apierrors.IsNotFound(err):
		err = r.client.Create(ctx, want)
	}
	switch {
	case err == nil:
		return nil
	case apierrors.IsAlreadyExists(err):
		return apierrors.NewConflict(corev1.Resource("persistentvolumeclaims"), want.Name, err) // look again
	}
	r.recorder.Eventf(p, corev1.EventTypeWarning, "FailedBinding", "ephemeral volume %s: %v", v.Name, err)
	return fmt.Errorf("making the claim of volume %s of pod %s/%s: %w", v.Name, p.Namespace, p.Name, err)
}

// claim is the claim of a pod's volume.
func claim(p *corev1.Pod, v *corev1.Volume) *corev1.PersistentVolumeClaim {
	template := v.Ephemeral.VolumeClaimTemplate
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, Name: ephemeral.VolumeClaimName(p, v), Labels: template.Labels, Annotations: template.Annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(p, corev1.SchemeGroupVersion.WithKind("Pod"))},
		},
		Spec: template.Spec,
	}
}
