package snapshot

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Owner names an object whose pods are spread by default: a ReplicationController, ReplicaSet or StatefulSet.
type Owner struct{ Kind, Namespace, Name string }

type owners struct {
	selectors map[Owner]labels.Selector
	services  map[string]map[string]labels.Set // by namespace and name
}

func newOwners() owners {
	return owners{selectors: map[Owner]labels.Selector{}, services: map[string]map[string]labels.Set{}}
}

// SetOwner tells of an owner's selector; nil is its end.
func (c *Cluster) SetOwner(o Owner, s labels.Selector) {
	if s == nil {
		delete(c.owners.selectors, o)
		return
	}
	c.owners.selectors[o] = s
}

// SetService tells of a service's selector; an empty one is its end.
func (c *Cluster) SetService(namespace, name string, selector labels.Set) {
	in := c.owners.services[namespace]
	if len(selector) == 0 {
		if delete(in, name); len(in) == 0 {
			delete(c.owners.services, namespace)
		}
		return
	}
	if in == nil {
		in = map[string]labels.Set{}
		c.owners.services[namespace] = in
	}
	in[name] = selector
}

// Siblings selects the pods that belong with a pod: those of its services and of its controller. It is nil when the
// pod belongs to none.
func (c *Cluster) Siblings(p *Pod) labels.Selector {
	merged := labels.Set{}
	for _, selector := range c.owners.services[p.Namespace] {
		if selector.AsSelectorPreValidated().Matches(labels.Set(p.Labels)) {
			merged = labels.Merge(merged, selector)
		}
	}
	s := labels.SelectorFromSet(merged)
	if ref := metav1.GetControllerOfNoCopy(p); ref != nil {
		if owned := c.owners.selectors[Owner{ref.Kind, p.Namespace, ref.Name}]; owned != nil {
			if requirements, selectable := owned.Requirements(); selectable {
				s = s.Add(requirements...)
			}
		}
	}
	if s.Empty() {
		return nil
	}
	return s
}
