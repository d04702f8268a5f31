// Package replicationcontroller keeps the pods of ReplicationControllers.
//
// It watches ReplicationControllers and pods; it owns the pods whose controller
// is a ReplicationController, and writes the status of ReplicationControllers.
// Behaviour, invariants and differences from Kubernetes are those of package
// replica, which does the work for ReplicaSets too.
package replicationcontroller

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/internal/replica"
)

// Reconciler reconciles ReplicationControllers.
type Reconciler struct {
	*replica.Reconciler[*corev1.ReplicationController]
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{replica.New(mgr, replica.Kind[*corev1.ReplicationController]{
		Name:      "replication-controller",
		GVK:       corev1.SchemeGroupVersion.WithKind("ReplicationController"),
		New:       func() *corev1.ReplicationController { return &corev1.ReplicationController{} },
		Set:       set,
		SetStatus: func(rc *corev1.ReplicationController, st appsv1.ReplicaSetStatus) { rc.Status = fromReplicaSet(st) },
		List:      list,
	})}
}

// set reads a ReplicationController. Its selector and template are defaulted by
// the API server; without either it selects nothing.
func set(rc *corev1.ReplicationController) (replica.Set, error) {
	if rc.Spec.Template == nil {
		return replica.Set{}, fmt.Errorf("replication controller %s has no template", rc.Name)
	}
	selector := labels.Nothing()
	if len(rc.Spec.Selector) > 0 {
		selector = labels.SelectorFromSet(rc.Spec.Selector)
	}
	replicas := int32(1)
	if rc.Spec.Replicas != nil {
		replicas = *rc.Spec.Replicas
	}
	return replica.Set{
		Replicas:        replicas,
		MinReadySeconds: rc.Spec.MinReadySeconds,
		Selector:        selector,
		Template:        rc.Spec.Template,
		Generation:      rc.Generation,
		Status:          toReplicaSet(rc.Status),
	}, nil
}

func toReplicaSet(st corev1.ReplicationControllerStatus) appsv1.ReplicaSetStatus {
	out := appsv1.ReplicaSetStatus{
		Replicas:             st.Replicas,
		FullyLabeledReplicas: st.FullyLabeledReplicas,
		ReadyReplicas:        st.ReadyReplicas,
		AvailableReplicas:    st.AvailableReplicas,
		ObservedGeneration:   st.ObservedGeneration,
	}
	for _, c := range st.Conditions {
		out.Conditions = append(out.Conditions, appsv1.ReplicaSetCondition{
			Type: appsv1.ReplicaSetConditionType(c.Type), Status: c.Status,
			LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	return out
}

func fromReplicaSet(st appsv1.ReplicaSetStatus) corev1.ReplicationControllerStatus {
	out := corev1.ReplicationControllerStatus{
		Replicas:             st.Replicas,
		FullyLabeledReplicas: st.FullyLabeledReplicas,
		ReadyReplicas:        st.ReadyReplicas,
		AvailableReplicas:    st.AvailableReplicas,
		ObservedGeneration:   st.ObservedGeneration,
	}
	for _, c := range st.Conditions {
		out.Conditions = append(out.Conditions, corev1.ReplicationControllerCondition{
			Type: corev1.ReplicationControllerConditionType(c.Type), Status: c.Status,
			LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	return out
}

func list(ctx context.Context, r client.Reader, namespace string) ([]*corev1.ReplicationController, error) {
	var all corev1.ReplicationControllerList
	if err := r.List(ctx, &all, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing replication controllers: %w", err)
	}
	out := make([]*corev1.ReplicationController, len(all.Items))
	for i := range all.Items {
		out[i] = &all.Items[i]
	}
	return out, nil
}
