// Package index names the indexes of the cache that controllers share, and
// makes each of them once for each manager, whoever asks first.
package index

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Controller is the index of objects by the UID of their controller. Objects
// without one are under Orphan.
const Controller = "metadata.controllerUID"

// Orphan is where the index Controller has the objects without a controller.
const Orphan = "none"

// ByController makes the index Controller for objects of obj's type.
func ByController(mgr manager.Manager, obj client.Object) error {
	return Ensure(mgr, obj, Controller, ControllerUID)
}

// ControllerUID is what the index Controller indexes by.
func ControllerUID(obj client.Object) []string {
	if ref := metav1.GetControllerOfNoCopy(obj); ref != nil {
		return []string{string(ref.UID)}
	}
	return []string{Orphan}
}

// Ensure makes an index unless the manager's cache has one of that name for
// objects of that type. Controllers may share a manager without knowing of each
// other, and a cache refuses a second index of the same name.
func Ensure(mgr manager.Manager, obj client.Object, field string, keys client.IndexerFunc) error {
	ctx := context.Background()
	informer, err := mgr.GetCache().GetInformer(ctx, obj, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("getting the informer for %T: %w", obj, err)
	}
	if store, ok := informer.(interface{ GetIndexer() toolscache.Indexer }); ok {
		if _, exists := store.GetIndexer().GetIndexers()["field:"+field]; exists {
			return nil
		}
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, obj, field, keys); err != nil {
		return fmt.Errorf("indexing %T by %s: %w", obj, field, err)
	}
	return nil
}

// PodsOf lists the pods that the given object controls.
func PodsOf(ctx context.Context, r client.Reader, namespace string, owner types.UID) ([]*corev1.Pod, error) {
	return pods(ctx, r, namespace, string(owner))
}

// OrphanPods lists the pods of a namespace that nothing controls.
func OrphanPods(ctx context.Context, r client.Reader, namespace string) ([]*corev1.Pod, error) {
	return pods(ctx, r, namespace, Orphan)
}

// pods reads without copying: what the pods point to belongs to the cache.
func pods(ctx context.Context, r client.Reader, namespace, key string) ([]*corev1.Pod, error) {
	var list corev1.PodList
	err := r.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{Controller: key}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	out := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}
