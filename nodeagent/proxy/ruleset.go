package proxy

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/knftables"
)

// elementID is a verdict map's element, by map and key.
type elementID struct{ mapName, key string }

// fragment is what one Service contributes. It is not changed once planned.
type fragment struct {
	// chains holds the rules of regular chains by name.
	chains map[string][]string
	// affinity holds the sets of clients and how long they are remembered.
	affinity map[string]time.Duration
	elements map[elementID]string
	// udp says where flows to a key of a verdict map may lead.
	udp map[string]map[netip.AddrPort]bool
}

func newFragment() fragment {
	return fragment{
		chains: map[string][]string{}, affinity: map[string]time.Duration{},
		elements: map[elementID]string{}, udp: map[string]map[netip.AddrPort]bool{},
	}
}

// merge makes a ruleset of the fragments by name of their Services. The first
// by name has a key that several claim.
func merge(fragments map[string]fragment) fragment {
	all := newFragment()
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(fragments))) {
		f := fragments[name]
		maps.Copy(all.chains, f.chains)
		maps.Copy(all.affinity, f.affinity)
		maps.Copy(all.elements, f.elements)
		maps.Copy(all.udp, f.udp)
	}
	return all
}

// writeDifference adds to tx what leads from one ruleset to another. Chains come
// before what refers to them, and go after it.
func writeDifference(tx *knftables.Transaction, from, to fragment) {
	for _, name := range added(from.affinity, to.affinity) {
		tx.Add(affinitySet(name, to.affinity[name]))
	}
	writeChains(tx, from.chains, to.chains)
	writeElements(tx, from.elements, to.elements)
	stale := added(to.chains, from.chains)
	for _, name := range stale {
		tx.Flush(&knftables.Chain{Name: name})
	}
	for _, name := range stale {
		tx.Delete(&knftables.Chain{Name: name})
	}
	for _, name := range added(to.affinity, from.affinity) {
		tx.Delete(&knftables.Set{Name: name})
	}
}

func writeChains(tx *knftables.Transaction, from, to map[string][]string) {
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(to)) {
		had, ok := from[name]
		if ok && slices.Equal(had, to[name]) {
			continue
		}
		changed = append(changed, name)
		if ok {
			tx.Flush(&knftables.Chain{Name: name})
		} else {
			tx.Add(&knftables.Chain{Name: name})
		}
	}
	for _, name := range changed {
		addRules(tx, name, to[name])
	}
}

func addRules(tx *knftables.Transaction, chain string, rules []string) {
	for _, rule := range rules {
		tx.Add(&knftables.Rule{Chain: chain, Rule: rule})
	}
}

func writeElements(tx *knftables.Transaction, from, to map[elementID]string) {
	for _, id := range sortedElements(from) {
		if verdict, ok := to[id]; !ok || verdict != from[id] {
			tx.Delete(element(id, from[id]))
		}
	}
	for _, id := range sortedElements(to) {
		if verdict, ok := from[id]; !ok || verdict != to[id] {
			tx.Add(element(id, to[id]))
		}
	}
}

func element(id elementID, verdict string) *knftables.Element {
	return &knftables.Element{Map: id.mapName, Key: strings.Split(id.key, " . "), Value: []string{verdict}}
}

// maxClients bounds an affinity set; beyond it, further clients have none.
const maxClients = 1 << 16

func affinitySet(name string, timeout time.Duration) *knftables.Set {
	return &knftables.Set{
		Name: name, Type: "ipv4_addr", Timeout: knftables.PtrTo(timeout), Size: knftables.PtrTo(uint64(maxClients)),
		Flags: []knftables.SetFlag{knftables.DynamicFlag, knftables.TimeoutFlag},
	}
}

// added lists the keys of to that from lacks, sorted.
func added[V any](from, to map[string]V) []string {
	var names []string
	for name := range to {
		if _, ok := from[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func sortedElements(m map[elementID]string) []elementID {
	return slices.SortedFunc(maps.Keys(m), func(a, b elementID) int {
		if c := strings.Compare(a.mapName, b.mapName); c != 0 {
			return c
		}
		return strings.Compare(a.key, b.key)
	})
}
