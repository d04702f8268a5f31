package garbagecollector

import (
	"context"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	// patience is how long work waits for kinds to be listed for the first
	// time. A kind that cannot be listed must not stop the others for ever.
	patience = 30 * time.Second
	// slow is how often kinds are discovered when nothing tells of a change.
	slow = 2 * time.Minute
	// retry is how soon discovery is tried again when it failed altogether.
	retry = time.Second
)

// settling are the times after a change at which kinds are discovered: what is
// announced is served, and shows in discovery, a little later.
var settling = []time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second}

// announces are the resources whose changes tell of new kinds, or of the end of
// some.
var announces = map[schema.GroupResource]bool{
	{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}: true,
	{Group: "apiregistration.k8s.io", Resource: "apiservices"}:             true,
}

// signal asks for kinds to be discovered soon.
func (c *Collector) signal() {
	select {
	case c.resync <- struct{}{}:
	default:
	}
}

// keepMonitors watches what there is to watch until ctx ends. The gate is
// closed when it begins.
func (c *Collector) keepMonitors(ctx context.Context) {
	begun := make(chan struct{})
	defer func() {
		c.stopMonitors()
		select {
		case <-begun:
		default:
			c.gate.Unlock()
		}
	}()
	for next := slices.Clone(settling); ; {
		wait := slow
		if !c.discover(ctx, begun) {
			wait = retry
		} else if len(next) > 0 {
			wait, next = next[0], next[1:]
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-c.resync:
			next = slices.Clone(settling)[1:]
			timer.Reset(settling[0])
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
		case <-timer.C:
		}
	}
}

// discover starts watching new kinds and stops watching those that are no more.
// Nothing is decided until the new ones have been listed. begun is closed by
// the first call that succeeds.
func (c *Collector) discover(ctx context.Context, begun chan struct{}) bool {
	groups, lists, err := c.discovery.ServerGroupsAndResourcesWithContext(ctx)
	failed, partial := discovery.GroupDiscoveryFailedErrorGroups(err)
	if err != nil && !partial {
		klog.FromContext(ctx).V(2).Info("Discovering kinds", "err", err)
		return false
	}
	watch, all := watched(groups, lists)
	c.mu.Lock()
	for gvk, k := range c.kinds { // what cannot be discovered now is still there
		if _, is := failed[gvk.GroupVersion()]; is {
			all[gvk] = k
		}
	}
	c.kinds = all
	c.mu.Unlock()
	var fresh []kind
	keep := map[resource]bool{}
	for _, k := range watch {
		keep[k.resource] = true
		if c.monitors[k.resource] == nil {
			fresh = append(fresh, k)
		}
	}
	for r, m := range c.monitors {
		if _, is := failed[r.GroupVersion()]; !keep[r] && !is {
			m.stop()
			delete(c.monitors, r)
			c.change(func(g *graph) []work { return g.demote(r) })
		}
	}
	c.open(ctx, fresh, begun)
	return true
}

// open watches new kinds, with the gate closed until they are listed.
func (c *Collector) open(ctx context.Context, fresh []kind, begun chan struct{}) {
	first := false
	select {
	case <-begun:
	default:
		first = true
		close(begun)
	}
	if !first {
		if len(fresh) == 0 {
			return
		}
		c.gate.Lock()
	}
	defer c.gate.Unlock()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	var started []*monitor
	for _, k := range fresh {
		m := c.newMonitor(ctx, k)
		c.monitors[k.resource] = m
		started = append(started, m)
	}
	for _, m := range started {
		select {
		case <-m.listed:
		case <-deadline.C:
			klog.FromContext(ctx).Info("Going on without having listed all kinds", "resource", m.kind.resource)
			return
		case <-ctx.Done():
			return
		}
	}
	klog.FromContext(ctx).V(2).Info("Watching kinds", "new", len(fresh), "all", len(c.monitors))
}

func (c *Collector) stopMonitors() {
	for _, m := range c.monitors {
		m.stop()
	}
}

// monitor feeds the graph with the metadata of one resource. It is the store of
// a reflector: the graph is the only copy.
type monitor struct {
	collector *Collector
	kind      kind
	stop      func() // and wait
	listed    chan struct{}
	once      sync.Once
}

func (c *Collector) newMonitor(ctx context.Context, k kind) *monitor {
	m := &monitor{collector: c, kind: k, listed: make(chan struct{})}
	client := c.metadata.Resource(k.resource)
	lw := &cache.ListWatch{
		ListWithContextFunc:  func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return client.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return client.Watch(ctx, o) },
	}
	logger := klog.FromContext(ctx)
	reflector := cache.NewReflectorWithOptions(lw, &metav1.PartialObjectMetadata{}, m, cache.ReflectorOptions{
		Logger: &logger, Name: "garbage collector", TypeDescription: k.resource.String(),
	})
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		reflector.RunWithContext(ctx)
	}()
	m.stop = func() { cancel(); <-done }
	return m
}

// Add takes in an object.
func (m *monitor) Add(obj any) error {
	o, ok := m.object(obj)
	if ok {
		m.collector.change(func(g *graph) []work { return g.observe(o) })
		m.announce()
	}
	return nil
}

// Update takes in a newer state of an object.
func (m *monitor) Update(obj any) error { return m.Add(obj) }

// Delete takes out an object.
func (m *monitor) Delete(obj any) error {
	o, ok := m.object(obj)
	if ok {
		m.collector.absent.Add(o.identity, nil)
		m.collector.change(func(g *graph) []work { return g.remove(o.uid) })
		m.announce()
	}
	return nil
}

// Replace takes in all objects there are.
func (m *monitor) Replace(list []any, _ string) error {
	objects := make([]object, 0, len(list))
	for _, item := range list {
		if o, ok := m.object(item); ok {
			objects = append(objects, o)
		}
	}
	m.collector.change(func(g *graph) []work {
		todo, gone := g.replace(m.kind.resource, objects)
		for _, id := range gone {
			m.collector.absent.Add(id, nil)
		}
		return todo
	})
	m.once.Do(func() { close(m.listed) })
	return nil
}

// Resync has nothing to do.
func (m *monitor) Resync() error { return nil }

func (m *monitor) announce() {
	if announces[m.kind.resource.GroupResource()] {
		m.collector.signal()
	}
}

func (m *monitor) object(obj any) (object, bool) {
	p, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return object{}, false
	}
	r := m.kind.resource
	return object{
		identity: identity{
			apiVersion: r.GroupVersion().String(), kind: m.kind.kind,
			namespace: p.Namespace, name: p.Name, uid: p.UID,
		},
		resource: r, resourceVersion: p.ResourceVersion, owners: p.OwnerReferences,
		deleting:   p.DeletionTimestamp != nil,
		orphan:     slices.Contains(p.Finalizers, metav1.FinalizerOrphanDependents),
		foreground: slices.Contains(p.Finalizers, metav1.FinalizerDeleteDependents),
	}, true
}
