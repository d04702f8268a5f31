package proxy

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"coracle.dev/coracle/nodeagent/internal/access"
)

// byService is the index of slices by namespace/name of their Service.
const byService = "service"

// notOurs leaves out, on the server's side, what no proxy of nodes looks at.
const notOurs = "!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless"

// watcher keeps Services and EndpointSlices and notes which Services are touched.
type watcher struct {
	client   kubernetes.Interface
	factory  informers.SharedInformerFactory
	services cache.SharedIndexInformer
	slices   cache.SharedIndexInformer
	changed  chan struct{}

	mu      sync.Mutex
	touched map[string]bool
}

func newWatcher(client kubernetes.Interface) (*watcher, error) {
	w := &watcher{client: client, changed: make(chan struct{}, 1), touched: map[string]bool{}}
	w.factory = informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithTransform(slim),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = notOurs }))
	w.services = w.factory.Core().V1().Services().Informer()
	w.slices = w.factory.Discovery().V1().EndpointSlices().Informer()
	err := w.slices.AddIndexers(cache.Indexers{byService: func(o any) ([]string, error) { return []string{serviceOf(o)}, nil }})
	if err != nil {
		return nil, fmt.Errorf("indexing endpoint slices: %w", err)
	}
	for _, i := range []cache.SharedIndexInformer{w.services, w.slices} {
		_, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    w.touch,
			UpdateFunc: func(old, now any) { w.touch(old); w.touch(now) },
			DeleteFunc: w.touch,
		})
		if err != nil {
			return nil, fmt.Errorf("watching for changes: %w", err)
		}
	}
	return w, nil
}

// slim drops what the proxy does not read.
func slim(o any) (any, error) {
	if m, ok := o.(metav1.Object); ok {
		m.SetManagedFields(nil)
		m.SetAnnotations(nil)
		m.SetOwnerReferences(nil)
	}
	if slice, ok := o.(*discoveryv1.EndpointSlice); ok {
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			e.TargetRef, e.Hints, e.Zone, e.Hostname, e.DeprecatedTopology = nil, nil, nil, nil, nil
		}
	}
	return o, nil
}

// start returns when both caches are filled and every Service counts as touched.
func (w *watcher) start(ctx context.Context) error {
	access.Wait(ctx, func(ctx context.Context) error {
		_, err := w.client.DiscoveryV1().EndpointSlices("").List(ctx, metav1.ListOptions{Limit: 1})
		return err
	})
	w.factory.StartWithContext(ctx)
	if result := w.factory.WaitForCacheSyncWithContext(ctx); result.Err != nil && ctx.Err() == nil {
		return fmt.Errorf("waiting for Services and endpoint slices: %w", result.Err)
	}
	for _, o := range w.services.GetStore().List() {
		w.touch(o)
	}
	return nil
}

func (w *watcher) wait() { w.factory.Shutdown() }

func (w *watcher) touch(o any) {
	name := serviceOf(o)
	if name == "" {
		return
	}
	w.mu.Lock()
	w.touched[name] = true
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default: // it is known already that there is something to do
	}
}

// serviceOf names the Service that an event is about, or "".
func serviceOf(o any) string {
	if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	switch o := o.(type) {
	case *corev1.Service:
		return o.Namespace + "/" + o.Name
	case *discoveryv1.EndpointSlice:
		if name := o.Labels[discoveryv1.LabelServiceName]; name != "" {
			return o.Namespace + "/" + name
		}
	}
	return ""
}

func (w *watcher) drain() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	names := make([]string, 0, len(w.touched))
	for name := range w.touched {
		names = append(names, name)
	}
	clear(w.touched)
	return names
}

func (w *watcher) service(name string) (*corev1.Service, []*discoveryv1.EndpointSlice) {
	o, ok, err := w.services.GetStore().GetByKey(name)
	if err != nil || !ok {
		return nil, nil
	}
	found, err := w.slices.GetIndexer().ByIndex(byService, name)
	if err != nil {
		return nil, nil
	}
	slices := make([]*discoveryv1.EndpointSlice, 0, len(found))
	for _, s := range found {
		slices = append(slices, s.(*discoveryv1.EndpointSlice))
	}
	return o.(*corev1.Service), slices
}
