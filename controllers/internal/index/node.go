package index

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Node is the index of pods by the name of their node; those without one are
// not in it.
const Node = "spec.nodeName"

// ByNode makes the index Node.
func ByNode(mgr manager.Manager) error {
	return Ensure(mgr, &corev1.Pod{}, Node, func(o client.Object) []string {
		if p, is := o.(*corev1.Pod); is && p.Spec.NodeName != "" {
			return []string{p.Spec.NodeName}
		}
		return nil
	})
}

// PodsOn lists the pods that are bound to a node. What they point to belongs to
// the cache.
func PodsOn(ctx context.Context, r client.Reader, node string) ([]*corev1.Pod, error) {
	var list corev1.PodList
	if err := r.List(ctx, &list, client.MatchingFields{Node: node}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the pods of node %s: %w", node, err)
	}
	out := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}
