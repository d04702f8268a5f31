package garbagecollector

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// identity is where an object is, or is said to be by a reference to it.
type identity struct {
	apiVersion, kind string
	namespace, name  string
	uid              types.UID
}

// object is what a watch tells of an object.
type object struct {
	identity
	resource        schema.GroupVersionResource
	resourceVersion string
	owners          []metav1.OwnerReference
	deleting        bool
	orphan          bool // has the finalizer that orphans its dependents
	foreground      bool // has the finalizer that lets its dependents go first
}

// node is an object in the graph, or the place of one that others refer to.
type node struct {
	object
	dependents map[types.UID]*node
	observed   bool // by a watch; if not, only references tell of it
}

// work is something to be tried for an object.
type work struct {
	uid    types.UID
	orphan bool // orphan its dependents; otherwise see whether it is to be deleted
}

// graph holds all objects. It is not safe for concurrent use.
//
// Each dependent is in the dependents of each of its owners' nodes, and a node
// that was not observed has at least one dependent.
type graph struct {
	nodes      map[types.UID]*node
	byResource map[schema.GroupVersionResource]map[types.UID]*node
}

func newGraph() *graph {
	return &graph{nodes: map[types.UID]*node{}, byResource: map[schema.GroupVersionResource]map[types.UID]*node{}}
}

// observe takes in an object's present state.
func (g *graph) observe(o object) (todo []work) {
	n := g.nodes[o.uid]
	if n == nil {
		n = &node{object: object{identity: o.identity}}
		g.nodes[o.uid] = n
	}
	before := n.object
	first := !n.observed
	g.file(n, false)
	n.object, n.observed = o, true
	g.file(n, true)
	if first {
		before.deleting = false
		for _, d := range n.dependents { // who refers to it in another place refers to nothing
			if !refersTo(d, n) {
				todo = append(todo, work{uid: d.uid})
			}
		}
	}
	todo = append(todo, g.relink(n, before.owners)...)
	if o.deleting && o.orphan && !(before.deleting && before.orphan) {
		todo = append(todo, work{uid: o.uid, orphan: true})
	}
	if n.awaitsDependents() && !(before.deleting && before.foreground) {
		todo = append(todo, work{uid: o.uid})
		for uid := range n.dependents {
			todo = append(todo, work{uid: uid})
		}
	}
	return todo
}

// relink makes the edges fit the node's owners, which were old.
func (g *graph) relink(n *node, old []metav1.OwnerReference) (todo []work) {
	changed := false
	for _, was := range old {
		i := slices.IndexFunc(n.owners, func(r metav1.OwnerReference) bool { return r.UID == was.UID })
		if i < 0 {
			g.unlink(n, was.UID)
			changed = true
		}
		if blocks(was) && (i < 0 || !blocks(n.owners[i])) {
			todo = append(todo, g.unblocked(was.UID)...)
		}
	}
	for _, ref := range n.owners {
		owner := g.nodes[ref.UID]
		if owner == nil {
			owner = &node{object: object{identity: refIdentity(n.namespace, ref)}}
			g.nodes[ref.UID] = owner
		}
		if _, linked := owner.dependents[n.uid]; linked {
			continue
		}
		if owner.dependents == nil {
			owner.dependents = map[types.UID]*node{}
		}
		owner.dependents[n.uid] = n
		changed = true
		switch {
		case !owner.observed:
			todo = append(todo, work{uid: owner.uid})
		case !refersTo(n, owner):
			todo = append(todo, work{uid: n.uid})
		}
	}
	if changed && len(old) > 0 {
		todo = append(todo, work{uid: n.uid})
	}
	return todo
}

func (g *graph) unlink(n *node, owner types.UID) {
	o := g.nodes[owner]
	if o == nil {
		return
	}
	delete(o.dependents, n.uid)
	if !o.observed && len(o.dependents) == 0 {
		delete(g.nodes, owner)
	}
}

// unblocked is what follows when a dependent no longer holds up an owner.
func (g *graph) unblocked(owner types.UID) []work {
	if o := g.nodes[owner]; o != nil && o.awaitsDependents() {
		return []work{{uid: owner}}
	}
	return nil
}

// remove takes out an object that is gone.
func (g *graph) remove(uid types.UID) (todo []work) {
	n := g.nodes[uid]
	if n == nil {
		return nil
	}
	g.file(n, false)
	delete(g.nodes, uid)
	for dependent := range n.dependents {
		todo = append(todo, work{uid: dependent})
	}
	for _, ref := range n.owners {
		g.unlink(n, ref.UID)
		todo = append(todo, g.unblocked(ref.UID)...)
	}
	return todo
}

// absent takes out a place at which the API server found nothing of that uid.
// Dependents that place the owner elsewhere keep it, to be looked for there.
func (g *graph) absent(id identity) (todo []work) {
	n := g.nodes[id.uid]
	if n == nil || n.identity != id {
		return nil
	}
	elsewhere := map[types.UID]*node{}
	var next identity
	for uid, d := range n.dependents {
		for _, ref := range d.owners {
			if ref.UID == id.uid && refIdentity(d.namespace, ref) != id {
				elsewhere[uid], next = d, refIdentity(d.namespace, ref)
			}
		}
	}
	todo = g.remove(id.uid)
	if len(elsewhere) > 0 {
		g.nodes[id.uid] = &node{object: object{identity: next}, dependents: elsewhere}
		todo = append(todo, work{uid: id.uid})
	}
	return todo
}

// replace takes in all objects of a resource; those not among them are gone.
func (g *graph) replace(resource schema.GroupVersionResource, objects []object) (todo []work, gone []identity) {
	stay := make(map[types.UID]bool, len(objects))
	for _, o := range objects {
		stay[o.uid] = true
		todo = append(todo, g.observe(o)...)
	}
	for _, n := range slices.Collect(maps.Values(g.byResource[resource])) {
		if !stay[n.uid] {
			gone = append(gone, n.identity)
			todo = append(todo, g.remove(n.uid)...)
		}
	}
	return todo, gone
}

// demote stops believing what was observed of a resource that is watched no
// longer. Those objects that own others are looked for where they were.
func (g *graph) demote(resource schema.GroupVersionResource) (todo []work) {
	for _, n := range slices.Collect(maps.Values(g.byResource[resource])) {
		g.file(n, false)
		n.observed = false
		for _, ref := range n.owners {
			g.unlink(n, ref.UID)
		}
		n.owners = nil
		if len(n.dependents) == 0 {
			delete(g.nodes, n.uid)
			continue
		}
		todo = append(todo, work{uid: n.uid})
	}
	return todo
}

// file puts a node on the list of its resource, or takes it off.
func (g *graph) file(n *node, on bool) {
	in := g.byResource[n.resource]
	switch {
	case !on:
		if delete(in, n.uid); len(in) == 0 {
			delete(g.byResource, n.resource)
		}
	case in == nil:
		g.byResource[n.resource] = map[types.UID]*node{n.uid: n}
	default:
		in[n.uid] = n
	}
}

// awaitsDependents tells whether an object goes after its dependents.
func (n *node) awaitsDependents() bool { return n.deleting && n.foreground }

// blocking are the dependents that must go before the object.
func (n *node) blocking() (out []*node) {
	for _, d := range n.dependents {
		for _, ref := range d.owners {
			if ref.UID == n.uid && blocks(ref) {
				out = append(out, d)
			}
		}
	}
	return out
}

func blocks(ref metav1.OwnerReference) bool {
	return ref.BlockOwnerDeletion != nil && *ref.BlockOwnerDeletion
}

// refIdentity is where a reference from an object in a namespace points. An
// owner without namespace is told from one with at the time of the request.
func refIdentity(namespace string, ref metav1.OwnerReference) identity {
	return identity{apiVersion: ref.APIVersion, kind: ref.Kind, namespace: namespace, name: ref.Name, uid: ref.UID}
}

// refersTo tells whether a dependent's reference to an observed owner names the
// place where that is. Versions of the API may differ.
func refersTo(dependent, owner *node) bool {
	for _, ref := range dependent.owners {
		if ref.UID == owner.uid {
			return ref.Kind == owner.kind && ref.Name == owner.name && group(ref.APIVersion) == group(owner.apiVersion) &&
				(owner.namespace == "" || owner.namespace == dependent.namespace)
		}
	}
	return true
}

func group(apiVersion string) string {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return apiVersion
	}
	return gv.Group
}
