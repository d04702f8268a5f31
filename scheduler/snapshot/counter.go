package snapshot

import (
	"maps"

	"k8s.io/apimachinery/pkg/labels"
)

// maxCounters bounds what an event about a pod costs: each is tried against every counter. The one that was used
// longest ago makes room for a new one.
const maxCounters = 128

// Counter is the number of matching pods on each node, kept up to date as pods come and go. Thus spreading a
// Deployment's pods does not look at all pods for each of them.
type Counter struct {
	match  func(*Pod) bool
	ByNode map[*Node]int
	Total  int
	used   uint64

	byNamespaceLabels bool
}

type counters struct {
	byKey map[string]*Counter
	clock uint64
}

func (cs *counters) count(p *Pod, n *Node, sign int) {
	for _, c := range cs.byKey {
		if c.match(p) {
			c.add(n, sign)
		}
	}
}

func (c *Counter) add(n *Node, sign int) {
	c.Total += sign
	if c.ByNode[n] += sign; c.ByNode[n] == 0 {
		delete(c.ByNode, n)
	}
}

func (c *Cluster) counter(key string, match func(*Pod) bool) *Counter {
	cs := &c.counters
	cs.clock++
	if have := cs.byKey[key]; have != nil {
		have.used = cs.clock
		return have
	}
	if len(cs.byKey) >= maxCounters {
		oldest := ""
		for k, v := range cs.byKey {
			if oldest == "" || v.used < cs.byKey[oldest].used {
				oldest = k
			}
		}
		delete(cs.byKey, oldest)
	}
	fresh := &Counter{match: match, ByNode: map[*Node]int{}, used: cs.clock}
	for _, at := range c.pods {
		if match(at.pod) {
			fresh.add(at.node, 1)
		}
	}
	cs.byKey[key] = fresh
	return fresh
}

// CountSpread counts the pods of a namespace that a selector matches and that are not being deleted.
func (c *Cluster) CountSpread(namespace string, s labels.Selector) *Counter {
	return c.counter("spread|"+namespace+"|"+selectorKey(s), func(p *Pod) bool {
		return p.Namespace == namespace && p.DeletionTimestamp == nil && s.Matches(labels.Set(p.Labels))
	})
}

// CountTerms counts the pods that all of these terms select.
func (c *Cluster) CountTerms(terms ...Term) *Counter {
	key, byNamespaceLabels := "terms", false
	for i := range terms {
		key += "|" + terms[i].key()
		byNamespaceLabels = byNamespaceLabels || terms[i].NamespaceSelector.String() != ""
	}
	counter := c.counter(key, func(p *Pod) bool {
		for i := range terms {
			if !terms[i].Matches(p, c.NamespaceLabels(p.Namespace)) {
				return false
			}
		}
		return len(terms) > 0
	})
	counter.byNamespaceLabels = byNamespaceLabels
	return counter
}

// forgetByNamespaceLabels drops the counters that a change of a namespace's labels makes wrong.
func (cs *counters) forgetByNamespaceLabels() {
	maps.DeleteFunc(cs.byKey, func(_ string, c *Counter) bool { return c.byNamespaceLabels })
}

// selectorKey tells apart what selects nothing and what selects everything; both print as nothing.
func selectorKey(s labels.Selector) string {
	if s.Empty() {
		return "*"
	}
	return s.String()
}
