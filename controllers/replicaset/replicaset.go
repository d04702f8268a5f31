// Package replicaset keeps the pods of ReplicaSets.
//
// It watches ReplicaSets and pods; it owns the pods whose controller is a
// ReplicaSet, and writes the status of ReplicaSets. Behaviour, invariants and
// differences from Kubernetes are those of package replica, which does the work
// for ReplicationControllers too. When pods are to be deleted, those of all
// ReplicaSets of the same Deployment count for the spread over nodes.
package replicaset

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/replica"
)

// Reconciler reconciles ReplicaSets.
type Reconciler struct {
	*replica.Reconciler[*appsv1.ReplicaSet]
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{replica.New(mgr, replica.Kind[*appsv1.ReplicaSet]{
		Name:      "replicaset-controller",
		GVK:       appsv1.SchemeGroupVersion.WithKind("ReplicaSet"),
		New:       func() *appsv1.ReplicaSet { return &appsv1.ReplicaSet{} },
		Set:       set,
		SetStatus: func(rs *appsv1.ReplicaSet, st appsv1.ReplicaSetStatus) { rs.Status = st },
		List:      list,
		Related:   related,
	})}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := index.ByController(mgr, &appsv1.ReplicaSet{}); err != nil {
		return err
	}
	return r.Reconciler.SetupWithManager(mgr)
}

func set(rs *appsv1.ReplicaSet) (replica.Set, error) {
	selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil {
		return replica.Set{}, fmt.Errorf("reading the selector: %w", err)
	}
	replicas := int32(1)
	if rs.Spec.Replicas != nil {
		replicas = *rs.Spec.Replicas
	}
	return replica.Set{
		Replicas:        replicas,
		MinReadySeconds: rs.Spec.MinReadySeconds,
		Selector:        selector,
		Template:        &rs.Spec.Template,
		Generation:      rs.Generation,
		Status:          rs.Status,
	}, nil
}

func list(ctx context.Context, r client.Reader, namespace string) ([]*appsv1.ReplicaSet, error) {
	return listBy(ctx, r, client.InNamespace(namespace))
}

func listBy(ctx context.Context, r client.Reader, opts ...client.ListOption) ([]*appsv1.ReplicaSet, error) {
	var all appsv1.ReplicaSetList
	if err := r.List(ctx, &all, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("listing replica sets: %w", err)
	}
	out := make([]*appsv1.ReplicaSet, len(all.Items))
	for i := range all.Items {
		out[i] = &all.Items[i]
	}
	return out, nil
}

// related lists the pods of all ReplicaSets that have the same controller.
func related(ctx context.Context, r client.Reader, rs *appsv1.ReplicaSet) ([]*corev1.Pod, error) {
	sets := []*appsv1.ReplicaSet{rs}
	if ref := metav1.GetControllerOfNoCopy(rs); ref != nil {
		var err error
		sets, err = listBy(ctx, r, client.InNamespace(rs.Namespace), client.MatchingFields{index.Controller: string(ref.UID)})
		if err != nil {
			return nil, err
		}
	}
	var pods []*corev1.Pod
	for _, s := range sets {
		p, err := index.PodsOf(ctx, r, s.Namespace, s.UID)
		if err != nil {
			return nil, err
		}
		pods = append(pods, p...)
	}
	return pods, nil
}
