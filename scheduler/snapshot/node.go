package snapshot

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Node is a node with its pods and the sum of what they ask for.
type Node struct {
	*corev1.Node // nil while only pods on it are known
	Name         string

	Allocatable     Resources
	AllocatablePods int64
	Requested       Resources
	ForScore        Resources // sum of the pods' ForScore
	Pods            map[types.UID]*Pod

	ports  map[HostPort]int // how many pods claim it: more than one only if somebody else bound them
	images map[string]int64 // size by name
}

func newNode(name string) *Node {
	return &Node{Name: name, Pods: map[types.UID]*Pod{}, ports: map[HostPort]int{}}
}

func (n *Node) setObject(o *corev1.Node) {
	n.Node = o
	n.Allocatable = NewResources(o.Status.Allocatable)
	n.AllocatablePods = o.Status.Allocatable.Pods().Value()
	n.images = map[string]int64{}
	for _, image := range o.Status.Images {
		for _, name := range image.Names {
			n.images[name] = image.SizeBytes
		}
	}
}

func (n *Node) add(p *Pod) {
	n.Pods[p.UID] = p
	n.Requested.Add(p.Requests, 1)
	n.ForScore.Add(p.ForScore, 1)
	for _, port := range p.Ports {
		n.ports[port]++
	}
}

func (n *Node) remove(p *Pod) {
	delete(n.Pods, p.UID)
	n.Requested.Add(p.Requests, -1)
	n.ForScore.Add(p.ForScore, -1)
	for _, port := range p.Ports {
		if n.ports[port]--; n.ports[port] == 0 {
			delete(n.ports, port)
		}
	}
}

// With is the node as it would be with these pods on it too. The node itself is left alone.
func (n *Node) With(pods ...*Pod) *Node {
	c := n.clone()
	for _, p := range pods {
		if _, there := c.Pods[p.UID]; !there {
			c.add(p)
		}
	}
	return c
}

// Without is the node as it would be without these pods.
func (n *Node) Without(pods ...*Pod) *Node {
	c := n.clone()
	for _, p := range pods {
		if _, there := c.Pods[p.UID]; there {
			c.remove(p)
		}
	}
	return c
}

func (n *Node) clone() *Node {
	c := *n
	c.Requested, c.ForScore = n.Requested.clone(), n.ForScore.clone()
	c.Pods, c.ports = maps.Clone(n.Pods), maps.Clone(n.ports)
	return &c
}

// PortTaken tells whether a pod on the node holds a port that conflicts with p.
func (n *Node) PortTaken(p HostPort) bool {
	if p.IP != "0.0.0.0" {
		return n.ports[p] > 0 || n.ports[HostPort{IP: "0.0.0.0", Protocol: p.Protocol, Port: p.Port}] > 0
	}
	for taken := range n.ports {
		if taken.Conflicts(p) {
			return true
		}
	}
	return false
}

// ImageSize is the size of an image that the node has, by any of its names, or 0.
func (n *Node) ImageSize(name string) int64 { return n.images[name] }

// SortedPods are the pods by name, where an order must not depend on chance.
func (n *Node) SortedPods() []*Pod {
	return slices.SortedFunc(maps.Values(n.Pods), func(a, b *Pod) int {
		if a.Namespace != b.Namespace {
			return cmpString(a.Namespace, b.Namespace)
		}
		return cmpString(a.Name, b.Name)
	})
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
