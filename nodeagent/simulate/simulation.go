package simulate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/component-base/version"
	"k8s.io/klog/v2"
)

// simulation is a number of nodes that run.
type simulation struct {
	Options
	client  kubernetes.Interface
	fleet   *fleet
	known   cache.Store // all pods that are bound
	begun   time.Time
	meter   meter
	queue   workqueue.TypedDelayingInterface[types.NamespacedName]
	port    int32  // of the nodes' API
	version string // of the kubelet that they say they are
	wg      sync.WaitGroup

	mu   sync.Mutex // of what follows
	pods map[types.NamespacedName]*record
}

// Run runs the nodes until ctx ends. It fails if it cannot begin.
func Run(ctx context.Context, cfg *rest.Config, o Options) error {
	s, err := newSimulation(cfg, o)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer s.wg.Wait()
	defer stop()
	if err := s.open(ctx); err != nil {
		return err
	}
	if err := s.settle(ctx, s.Pools); err != nil || ctx.Err() != nil {
		return err
	}
	s.wg.Go(func() { s.keepLeases(ctx) })
	if err := s.watch(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	for range s.Workers {
		s.wg.Go(func() { s.work(ctx) })
	}
	klog.FromContext(ctx).Info("Simulating nodes", "count", len(s.fleet.all()))
	if s.OnReady != nil {
		s.OnReady()
	}
	s.follow(ctx)
	s.queue.ShutDown()
	if s.Remove {
		return s.removeAll(context.WithoutCancel(ctx), s.fleet.all())
	}
	return nil
}

// follow takes up changes of the pools until ctx ends.
func (s *simulation) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case pools := <-s.Changes:
			if err := s.settle(ctx, pools); err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "Could not change the simulated nodes")
			}
			klog.FromContext(ctx).Info("Simulating nodes", "count", len(s.fleet.all()))
		}
	}
}

// settle makes the nodes what the pools say.
func (s *simulation) settle(ctx context.Context, pools []Pool) error {
	o := s.Options
	o.Pools = pools
	o, err := o.complete()
	if err != nil {
		return err
	}
	added, removed := s.fleet.settle(o)
	err = errors.Join(s.registerAll(ctx, added), s.removeAll(ctx, removed))
	if s.known != nil && len(added) > 0 {
		for _, o := range s.known.List() {
			s.podChanged(o) // such as are bound to a node that was there before
		}
	}
	return err
}

func newSimulation(cfg *rest.Config, o Options) (*simulation, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.RateLimiter = -1, nil
	cfg.ContentType, cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	s := &simulation{
		Options: o, client: client, fleet: newFleet(), begun: o.Clock.Now(), pods: map[types.NamespacedName]*record{}, version: version.Get().GitVersion,
		queue: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[types.NamespacedName]{Clock: o.Clock}),
	}
	return s, nil
}

// errNoAPI says that the system cannot give each node an address of its own.
var errNoAPI = errors.New("the API of simulated nodes needs Linux, and is not there")

// open begins to serve the nodes' API, if there is an authority for it.
func (s *simulation) open(ctx context.Context) error {
	if s.Authority == nil {
		return nil
	}
	server, err := s.api(ctx)
	if err != nil {
		return err
	}
	l, err := listen(ctx)
	if errors.Is(err, errNoAPI) {
		klog.FromContext(ctx).Info("The simulated nodes have no API of their own", "reason", err)
		return nil
	}
	if err != nil {
		return err
	}
	s.port = int32(l.Addr().(*net.TCPAddr).Port)
	s.wg.Go(func() { s.serve(ctx, server, l) })
	return nil
}

// inParallel calls do for 0 to count-1 by as many workers.
func inParallel(workers, count int, do func(int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range count {
		next <- i
	}
	close(next)
	wg.Wait()
}

func (s *simulation) registerAll(ctx context.Context, nodes []*node) error {
	var mu sync.Mutex
	var errs []error
	inParallel(min(s.Workers, len(nodes)), len(nodes), func(i int) {
		if ctx.Err() != nil {
			return
		}
		if err := s.register(ctx, nodes[i]); err != nil && ctx.Err() == nil {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		}
	})
	return errors.Join(errs...)
}

// removeTime bounds how long the removal of the nodes may take.
const removeTime = time.Minute

func (s *simulation) removeAll(ctx context.Context, nodes []*node) error {
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	var mu sync.Mutex
	var errs []error
	inParallel(min(s.Workers, len(nodes)), len(nodes), func(i int) {
		err := s.client.CoreV1().Nodes().Delete(ctx, nodes[i].name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, fmt.Errorf("removing node %s: %w", nodes[i].name, err))
		}
	})
	return errors.Join(errs...)
}

// watch follows pods that are bound, and nodes, and returns when all that are there are known.
func (s *simulation) watch(ctx context.Context) error {
	pods := informers.NewSharedInformerFactoryWithOptions(s.client, 0, informers.WithTransform(strip),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = "spec.nodeName!=" })).Core().V1().Pods().Informer()
	nodes := informers.NewSharedInformerFactoryWithOptions(s.client, 0, informers.WithTransform(strip)).Core().V1().Nodes().Informer()
	s.known = pods.GetStore()
	p, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { s.podChanged(o) },
		UpdateFunc: func(_, o any) { s.podChanged(o) },
		DeleteFunc: func(o any) { s.podDeleted(o) },
	})
	if err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	n, err := nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { s.nodeChanged(ctx, o.(*corev1.Node)) },
		UpdateFunc: func(_, o any) { s.nodeChanged(ctx, o.(*corev1.Node)) },
		DeleteFunc: func(o any) {
			if gone, is := last(o).(*corev1.Node); is {
				s.nodeDeleted(ctx, gone)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watching nodes: %w", err)
	}
	for _, i := range []cache.SharedIndexInformer{nodes, pods} {
		s.wg.Go(func() { i.RunWithContext(ctx) })
	}
	cache.WaitForCacheSync(ctx.Done(), n.HasSynced, p.HasSynced)
	return nil
}

// last is what an informer knows of an object that is gone.
func last(o any) any {
	if unknown, is := o.(cache.DeletedFinalStateUnknown); is {
		return unknown.Obj
	}
	return o
}

// strip drops what nobody here looks at.
func strip(o any) (any, error) {
	if m, err := meta.Accessor(o); err == nil {
		m.SetManagedFields(nil)
	}
	return o, nil
}

// background does something that a handler of events must not wait for.
func (s *simulation) background(ctx context.Context, do func(context.Context) error) {
	s.wg.Go(func() {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Could not follow a change")
		}
	})
}
