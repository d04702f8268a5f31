package simulate

import (
	"net/netip"
	"slices"
	"sync"
)

// fleet is all nodes that there are to be. A node keeps its place in it, by which it has its addresses, as
// long as it is there.
type fleet struct {
	mu     sync.RWMutex // of what follows
	places []*node      // nil where one was removed
	byName map[string]*node
	byIP   map[netip.Addr]*node
}

func newFleet() *fleet { return &fleet{byName: map[string]*node{}, byIP: map[netip.Addr]*node{}} }

// named returns the node of a name, or nil.
func (f *fleet) named(name string) *node {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.byName[name]
}

// at returns the node of an address, or nil.
func (f *fleet) at(ip netip.Addr) *node {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.byIP[ip]
}

// all are the nodes, in their places' order.
func (f *fleet) all() []*node {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return slices.DeleteFunc(slices.Clone(f.places), func(n *node) bool { return n == nil })
}

// settle makes the fleet what the options' pools say, and returns the nodes that are new and those that
// are no longer of it. Nodes that stay take the pool's new profile.
func (f *fleet) settle(o Options) (added, removed []*node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	wanted := map[string]bool{}
	for i := range o.Pools {
		p := &o.Pools[i]
		for j := range p.Count {
			name := p.nodeName(j)
			wanted[name] = true
			if n := f.byName[name]; n != nil {
				n.pool.Store(p)
			}
		}
	}
	for i, n := range f.places {
		if n != nil && !wanted[n.name] {
			f.places[i] = nil
			delete(f.byName, n.name)
			delete(f.byIP, n.address)
			n.down.Store(true)
			removed = append(removed, n)
		}
	}
	free := 0
	for i := range o.Pools {
		p := &o.Pools[i]
		for j := range p.Count {
			if f.byName[p.nodeName(j)] != nil {
				continue
			}
			for free < len(f.places) && f.places[free] != nil {
				free++
			}
			if free == len(f.places) {
				f.places = append(f.places, nil)
			}
			n := o.newNode(free, j, p)
			f.places[free], f.byName[n.name], f.byIP[n.address] = n, n, n
			added = append(added, n)
		}
	}
	return added, removed
}
