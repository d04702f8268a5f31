package garbagecollector

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/lru"
	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	workers   = 20
	maxAbsent = 2000 // owners known to be gone
)

// Collector collects garbage. It is a Runnable of a manager rather than a
// Reconciler, since it is not about one kind of objects.
type Collector struct {
	discovery discovery.DiscoveryInterfaceWithContext
	metadata  metadata.Interface
	queue     workqueue.TypedRateLimitingInterface[work]
	resync    chan struct{} // holds a token when kinds may have changed
	gate      sync.RWMutex  // written while kinds are being listed for the first time
	monitors  map[resource]*monitor
	absent    *lru.Cache // identity of owners found gone

	mu    sync.Mutex // of what follows
	graph *graph
	kinds kinds
}

// New makes the collector with clients of its own for discovery and metadata.
func New(mgr ctrl.Manager) (*Collector, error) {
	disco, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("making a discovery client: %w", err)
	}
	meta, err := metadata.NewForConfigAndClient(metadata.ConfigFor(mgr.GetConfig()), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("making a metadata client: %w", err)
	}
	return &Collector{
		discovery: disco, metadata: meta, graph: newGraph(), monitors: map[resource]*monitor{},
		resync: make(chan struct{}, 1), absent: lru.New(maxAbsent),
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[work](5*time.Millisecond, 5*time.Minute)),
	}, nil
}

// SetupWithManager adds the collector to the manager.
func (c *Collector) SetupWithManager(mgr ctrl.Manager) error { return mgr.Add(c) }

// NeedLeaderElection tells the manager that one collector is enough.
func (c *Collector) NeedLeaderElection() bool { return true }

// Start collects until ctx ends.
func (c *Collector) Start(ctx context.Context) error {
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithName("garbage-collector-controller"))
	var wg sync.WaitGroup
	c.gate.Lock() // until the first listing
	wg.Go(func() { c.keepMonitors(ctx) })
	for range workers {
		wg.Go(func() { c.work(ctx) })
	}
	<-ctx.Done()
	c.queue.ShutDown()
	wg.Wait()
	return nil
}

func (c *Collector) work(ctx context.Context) {
	for {
		w, shutdown := c.queue.Get()
		if shutdown {
			return
		}
		c.gate.RLock()
		err := c.process(ctx, w)
		c.gate.RUnlock()
		switch {
		case err == nil:
			c.queue.Forget(w)
		case ctx.Err() == nil:
			if !expected(err) {
				klog.FromContext(ctx).V(2).Info("Trying again", "uid", w.uid, "err", err)
			}
			c.queue.AddRateLimited(w)
		}
		c.queue.Done(w)
	}
}

func (c *Collector) enqueue(todo []work) {
	for _, w := range todo {
		c.queue.Add(w)
	}
}

// change changes the graph, and queues what follows.
func (c *Collector) change(f func(*graph) []work) {
	c.mu.Lock()
	todo := f(c.graph)
	c.mu.Unlock()
	c.enqueue(todo)
}

// process does one piece of work. An error has it repeated.
func (c *Collector) process(ctx context.Context, w work) error {
	if w.orphan {
		return c.orphan(ctx, w.uid)
	}
	answers := map[types.UID]standing{}
	for {
		o, act, asked := c.decide(w.uid, answers)
		switch {
		case o == nil:
			return nil
		case !o.observed:
			found, err := c.look(ctx, o.identity)
			if err == nil && found != nil {
				err = errUnobserved
			}
			return err
		case len(asked) == 0:
			return c.apply(ctx, o.object, act)
		}
		for _, ref := range asked {
			found, err := c.look(ctx, refIdentity(o.namespace, ref))
			if err != nil {
				return err
			}
			answers[ref.UID] = standingOf(found, ref)
		}
	}
}

// decide plans for an object with what is known now. What it returns shares
// nothing with the graph; asked are the owners that must be looked for first.
func (c *Collector) decide(uid types.UID, answers map[types.UID]standing) (_ *node, act action, asked []metav1.OwnerReference) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.graph.nodes[uid]
	if n == nil {
		return nil, act, nil
	}
	if n.observed {
		act = plan(n, func(ref metav1.OwnerReference) standing {
			s := c.standing(n, ref)
			if s == unknown {
				s = answers[ref.UID]
			}
			if s == unknown {
				asked = append(asked, ref)
			}
			return s
		})
	}
	return &node{object: n.object, observed: n.observed}, act, asked
}

// standing is what the graph knows of an owner. Call it with the lock held.
func (c *Collector) standing(n *node, ref metav1.OwnerReference) standing {
	if _, known := c.absent.Get(refIdentity(n.namespace, ref)); known {
		return gone
	}
	owner := c.graph.nodes[ref.UID]
	switch {
	case owner == nil || !owner.observed || !refersTo(n, owner):
		return unknown
	case owner.awaitsDependents() && blocks(ref):
		return waiting
	default:
		return there
	}
}

// standingOf is what the API server's answer says of an owner.
func standingOf(o *metav1.PartialObjectMetadata, ref metav1.OwnerReference) standing {
	switch {
	case o == nil:
		return gone
	case o.DeletionTimestamp != nil && blocks(ref) && slices.Contains(o.Finalizers, metav1.FinalizerDeleteDependents):
		return waiting
	default:
		return there
	}
}

// look asks the API server whether an object is where it is said to be. If it
// is not, nil is returned, and it counts as gone from then on: a uid never
// comes back.
func (c *Collector) look(ctx context.Context, id identity) (*metav1.PartialObjectMetadata, error) {
	getter, err := c.at(id)
	if err != nil {
		return nil, err
	}
	o, err := getter.Get(ctx, id.name, metav1.GetOptions{})
	if err == nil && o.UID == id.uid {
		return o, nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("looking for %s %s/%s: %w", id.kind, id.namespace, id.name, err)
	}
	c.absent.Add(id, nil)
	c.change(func(g *graph) []work { return g.absent(id) })
	return nil, nil
}

func (c *Collector) dependentsOf(uid types.UID) (owner object, dependents []object, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.graph.nodes[uid]
	if n == nil || !n.observed {
		return owner, nil, false
	}
	for _, d := range n.dependents {
		dependents = append(dependents, d.object)
	}
	return n.object, dependents, true
}
