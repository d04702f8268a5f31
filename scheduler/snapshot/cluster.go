package snapshot

import (
	"slices"
	"sort"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// Cluster is all that decisions look at.
type Cluster struct {
	nodes map[string]*Node
	list  []*Node // those whose object is known, by name
	pods  map[types.UID]*placement

	counters   counters
	wishes     map[string]*Wish
	imageNodes map[string]int // number of nodes that have an image, by name
	namespaces map[string]labels.Set
	owners     owners
	volumes    volumes
	devices    devices
	nominated  map[types.UID]nomination
	budgets    []Budget // by namespace and name
}

type placement struct {
	pod     *Pod
	node    *Node
	assumed bool
}

type nomination struct {
	pod  *Pod
	node string
}

// NewCluster is a cluster of nothing.
func NewCluster() *Cluster {
	return &Cluster{
		nodes: map[string]*Node{}, pods: map[types.UID]*placement{}, wishes: map[string]*Wish{},
		imageNodes: map[string]int{}, namespaces: map[string]labels.Set{}, owners: newOwners(), volumes: newVolumes(), devices: newDevices(),
		counters: counters{byKey: map[string]*Counter{}}, nominated: map[types.UID]nomination{},
	}
}

// Nodes are the nodes whose object is known, by name. The slice belongs to the cluster.
func (c *Cluster) Nodes() []*Node { return c.list }

// Node finds a node whose object is known, or is nil.
func (c *Cluster) Node(name string) *Node {
	if n := c.nodes[name]; n != nil && n.Node != nil {
		return n
	}
	return nil
}

// SetNode adds a node or takes its newer state, and returns the older.
func (c *Cluster) SetNode(o *corev1.Node) (n *Node, old *corev1.Node) {
	n = c.node(o.Name)
	if old = n.Node; old == nil {
		i := c.search(o.Name)
		c.list = slices.Insert(c.list, i, n)
	}
	c.countImages(n, -1)
	n.setObject(o)
	c.countImages(n, 1)
	return n, old
}

// RemoveNode forgets a node. Pods that are still on it are kept, in case it comes back.
func (c *Cluster) RemoveNode(name string) {
	n := c.Node(name)
	if n == nil {
		return
	}
	c.countImages(n, -1)
	n.Node, n.images = nil, nil
	i := c.search(name)
	c.list = slices.Delete(c.list, i, i+1)
	c.dropIfEmpty(n)
}

func (c *Cluster) search(name string) int {
	return sort.Search(len(c.list), func(i int) bool { return c.list[i].Name >= name })
}

func (c *Cluster) node(name string) *Node {
	n := c.nodes[name]
	if n == nil {
		n = newNode(name)
		c.nodes[name] = n
	}
	return n
}

func (c *Cluster) dropIfEmpty(n *Node) {
	if n.Node == nil && len(n.Pods) == 0 {
		delete(c.nodes, n.Name)
	}
}

func (c *Cluster) countImages(n *Node, sign int) {
	for name := range n.images {
		if c.imageNodes[name] += sign; c.imageNodes[name] == 0 {
			delete(c.imageNodes, name)
		}
	}
}

// ImageNodes is the number of nodes that have an image.
func (c *Cluster) ImageNodes(name string) int { return c.imageNodes[name] }

// SetPod puts a pod that is bound to a node in its place, or takes its newer state.
func (c *Cluster) SetPod(p *corev1.Pod) *Pod {
	pod := NewPod(p)
	c.place(pod, p.Spec.NodeName, false)
	return pod
}

// Assume counts a pod as being on a node while its binding is under way.
func (c *Cluster) Assume(p *Pod, node string) { c.place(p, node, true) }

func (c *Cluster) place(p *Pod, node string, assumed bool) {
	c.RemovePod(p.UID)
	n := c.node(node)
	n.add(p)
	c.counters.count(p, n, 1)
	c.countClaims(p, 1)
	c.countWishes(p, n, 1)
	c.pods[p.UID] = &placement{pod: p, node: n, assumed: assumed}
}

// Placed finds the node that a pod is on, or is assumed to be on.
func (c *Cluster) Placed(uid types.UID) (n *Node, assumed bool) {
	if at := c.pods[uid]; at != nil {
		return at.node, at.assumed
	}
	return nil, false
}

// RemovePod takes a pod off its node, which is returned. A pod that is on none is no error.
func (c *Cluster) RemovePod(uid types.UID) *Node {
	delete(c.nominated, uid)
	at := c.pods[uid]
	if at == nil {
		return nil
	}
	delete(c.pods, uid)
	at.node.remove(at.pod)
	c.counters.count(at.pod, at.node, -1)
	c.countClaims(at.pod, -1)
	c.countWishes(at.pod, at.node, -1)
	c.dropIfEmpty(at.node)
	return at.node
}

// SetNamespace tells of a namespace's labels, and whether they are news.
func (c *Cluster) SetNamespace(name string, l labels.Set) (changed bool) {
	if old, known := c.namespaces[name]; known && labels.Equals(old, l) {
		return false
	}
	c.namespaces[name] = l
	c.counters.forgetByNamespaceLabels()
	return true
}

// RemoveNamespace forgets a namespace.
func (c *Cluster) RemoveNamespace(name string) {
	delete(c.namespaces, name)
	c.counters.forgetByNamespaceLabels()
}

// NamespaceLabels are the labels of a namespace.
func (c *Cluster) NamespaceLabels(name string) labels.Set { return c.namespaces[name] }

// Nominate keeps room on a node for a pod that others make way for. An empty node withdraws it.
func (c *Cluster) Nominate(p *Pod, node string) {
	if node == "" {
		delete(c.nominated, p.UID)
		return
	}
	c.nominated[p.UID] = nomination{pod: p, node: node}
}

// Nominated are the pods of at least this priority for which room is kept on the node, save the pod itself.
func (c *Cluster) Nominated(node string, than *Pod) []*Pod {
	var out []*Pod
	for uid, nom := range c.nominated {
		if nom.node == node && uid != than.UID && nom.pod.Priority >= than.Priority {
			out = append(out, nom.pod)
		}
	}
	return out
}

// NominatedNode is the node on which room is kept for a pod, or empty.
func (c *Cluster) NominatedNode(uid types.UID) string { return c.nominated[uid].node }

// Lift takes a pod off its node for as long as a question is asked, and returns what undoes that.
func (c *Cluster) Lift(p *Pod) (putBack func()) {
	at := c.pods[p.UID]
	if at == nil {
		return func() {}
	}
	name, assumed := at.node.Name, at.assumed
	c.RemovePod(p.UID)
	return func() { c.place(p, name, assumed) }
}

// Outbid are the pods of lower priority for which room was kept on a node.
func (c *Cluster) Outbid(node string, by *Pod) []*Pod {
	var out []*Pod
	for _, nom := range c.nominated {
		if nom.node == node && nom.pod.Priority < by.Priority {
			out = append(out, nom.pod)
		}
	}
	return out
}
