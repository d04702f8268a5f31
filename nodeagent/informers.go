package nodeagent

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"coracle.dev/coracle/nodeagent/internal/access"
	"coracle.dev/coracle/nodeagent/pod"
)

// watchPods delivers the pods of this node, and says when all have come.
func watchPods(ctx context.Context, client kubernetes.Interface, node string, pods *pod.Manager) error {
	selector := fields.OneTermEqualSelector("spec.nodeName", node).String()
	api := client.CoreV1().Pods(metav1.NamespaceAll)
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector
			return api.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector
			return api.Watch(ctx, o)
		},
	}, client)
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: lw, ObjectType: &corev1.Pod{}, Transform: withoutManagedFields,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: func(o any) { pods.Update(o.(*corev1.Pod)) },
			UpdateFunc: func(before, now any) {
				old, next := before.(*corev1.Pod), now.(*corev1.Pod)
				if old.UID != next.UID {
					pods.Remove(old)
				}
				pods.Update(next)
			},
			DeleteFunc: func(o any) {
				if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = gone.Obj
				}
				if p, ok := o.(*corev1.Pod); ok {
					pods.Remove(p)
				}
			},
		},
	})
	go func() {
		select {
		case <-informer.HasSyncedChecker().Done():
			pods.Synced()
		case <-ctx.Done():
		}
	}()
	allowed := access.Wait(ctx, func(ctx context.Context) error {
		_, err := api.List(ctx, metav1.ListOptions{FieldSelector: selector, Limit: 1, ResourceVersion: "0"})
		return err
	})
	if allowed {
		informer.RunWithContext(ctx)
	}
	return nil
}

func withoutManagedFields(o any) (any, error) {
	if m, ok := o.(metav1.Object); ok {
		m.SetManagedFields(nil)
	}
	return o, nil
}

// services are what environment variables show.
type services struct {
	store    cache.Store
	informer cache.Controller
}

func newServices(client kubernetes.Interface) *services {
	api := client.CoreV1().Services(metav1.NamespaceAll)
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return api.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return api.Watch(ctx, o)
		},
	}, client)
	s := &services{}
	s.store, s.informer = cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: lw, ObjectType: &corev1.Service{}, Transform: withoutManagedFields, Handler: cache.ResourceEventHandlerFuncs{},
	})
	return s
}

func (s *services) run(ctx context.Context, client kubernetes.Interface) error {
	allowed := access.Wait(ctx, func(ctx context.Context) error {
		_, err := client.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: 1, ResourceVersion: "0"})
		return err
	})
	if allowed {
		s.informer.RunWithContext(ctx)
	}
	return nil
}

// list waits until the services are known.
func (s *services) list(ctx context.Context) ([]*corev1.Service, error) {
	select {
	case <-s.informer.HasSyncedChecker().Done():
	case <-ctx.Done():
		return nil, errors.New("services have not yet been read at least once, cannot construct envvars")
	}
	objects := s.store.List()
	out := make([]*corev1.Service, 0, len(objects))
	for _, o := range objects {
		out = append(out, o.(*corev1.Service))
	}
	return out, nil
}
