package disruption

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// scaleOf sums up what the owners of pods want. Pods without an owner count for
// nothing, and are returned.
func (r *Reconciler) scaleOf(ctx context.Context, namespace string, pods []*corev1.Pod) (scale int, unmanaged []*corev1.Pod, err error) {
	found := map[types.UID]bool{}
	for _, p := range pods {
		ref := metav1.GetControllerOfNoCopy(p)
		if ref == nil {
			unmanaged = append(unmanaged, p)
			continue
		}
		if found[ref.UID] {
			continue
		}
		found[ref.UID] = true
		uid, n, err := r.scaleOfOwner(ctx, namespace, ref)
		if apierrors.IsNotFound(err) {
			return 0, unmanaged, fmt.Errorf("found no controllers for pod %q", p.Name)
		}
		if err != nil {
			return 0, unmanaged, fmt.Errorf("finding the controller of pod %q: %w", p.Name, err)
		}
		if uid != ref.UID && found[uid] {
			continue // counted by another of its replica sets
		}
		found[uid] = true
		scale += n
	}
	return scale, unmanaged, nil
}

// scaleOfOwner reads how many pods an owner wants, and whose will that is: a
// replica set's is its deployment's.
func (r *Reconciler) scaleOfOwner(ctx context.Context, namespace string, ref *metav1.OwnerReference) (types.UID, int, error) {
	key := types.NamespacedName{Namespace: namespace, Name: ref.Name}
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return "", 0, err
	}
	switch (schema.GroupKind{Group: gv.Group, Kind: ref.Kind}) {
	case schema.GroupKind{Kind: "ReplicationController"}:
		rc := &corev1.ReplicationController{}
		err := r.client.Get(ctx, key, rc)
		return rc.UID, number(rc.Spec.Replicas), err
	case schema.GroupKind{Group: appsv1.GroupName, Kind: "StatefulSet"}:
		set := &appsv1.StatefulSet{}
		err := r.client.Get(ctx, key, set)
		return set.UID, number(set.Spec.Replicas), err
	case schema.GroupKind{Group: appsv1.GroupName, Kind: "ReplicaSet"}:
		return r.scaleOfReplicaSet(ctx, key)
	}
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(gv.WithKind(ref.Kind))
	obj.SetNamespace(namespace)
	obj.SetName(ref.Name)
	scale := &unstructured.Unstructured{} // as the client wants it, of an object that is
	scale.SetGroupVersionKind(autoscalingv1.SchemeGroupVersion.WithKind("Scale"))
	if err := r.client.SubResource("scale").Get(ctx, obj, scale); err != nil {
		if client.IgnoreNotFound(err) == nil {
			// Gone, or a kind without a scale: told apart by asking for itself.
			if err := r.live.Get(ctx, key, obj); err == nil {
				return "", 0, fmt.Errorf("%s %s does not implement the scale subresource", gv.WithKind(ref.Kind).GroupKind(), ref.Name)
			}
		}
		return "", 0, err
	}
	replicas, _, err := unstructured.NestedInt64(scale.Object, "spec", "replicas")
	return scale.GetUID(), int(replicas), err
}

func (r *Reconciler) scaleOfReplicaSet(ctx context.Context, key types.NamespacedName) (types.UID, int, error) {
	rs := &appsv1.ReplicaSet{}
	if err := r.client.Get(ctx, key, rs, client.UnsafeDisableDeepCopy); err != nil {
		return "", 0, err
	}
	ref := metav1.GetControllerOfNoCopy(rs)
	if ref == nil || ref.Kind != "Deployment" {
		return rs.UID, number(rs.Spec.Replicas), nil
	}
	d := &appsv1.Deployment{}
	if err := r.client.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: ref.Name}, d, client.UnsafeDisableDeepCopy); err != nil {
		return "", 0, err
	}
	return d.UID, number(d.Spec.Replicas), nil
}

func number(n *int32) int {
	if n == nil {
		return 1
	}
	return int(*n)
}
