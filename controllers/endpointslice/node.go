package endpointslice

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

// nodes gives the library nodes from the manager's cache. The library only
// reads them, so they are not copied.
type nodes struct{ reader client.Reader }

// List implements the lister of nodes.
func (n nodes) List(selector labels.Selector) ([]*corev1.Node, error) {
	var list corev1.NodeList
	err := n.reader.List(context.Background(), &list, client.MatchingLabelsSelector{Selector: selector}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing nodes: %w", err)
	}
	out := make([]*corev1.Node, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}

// Get implements the lister of nodes.
func (n nodes) Get(name string) (*corev1.Node, error) {
	node := &corev1.Node{}
	err := n.reader.Get(context.Background(), types.NamespacedName{Name: name}, node, client.UnsafeDisableDeepCopy)
	return node, err
}

// placed lets through the changes of nodes that count for topology: zone,
// readiness, size.
var placed = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	was, is := e.ObjectOld.(*corev1.Node), e.ObjectNew.(*corev1.Node)
	return was.Labels[corev1.LabelTopologyZone] != is.Labels[corev1.LabelTopologyZone] || ready(was) != ready(is) ||
		!was.Status.Allocatable.Cpu().Equal(*is.Status.Allocatable.Cpu())
}}

func ready(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func parseKey(key string) (types.NamespacedName, bool) {
	namespace, name, ok := strings.Cut(key, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok
}
