package network

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"sigs.k8s.io/knftables"
)

// portMapping is one host port of a pod, as the runtime passes it.
type portMapping struct {
	HostPort      int    `json:"hostPort"`
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol"`
	// HostIP limits the port to one address of the host. Empty and 0.0.0.0 mean
	// all of them.
	HostIP string `json:"hostIP,omitempty"`
}

// The names in our table.
const (
	hostPortMap   = "host-ports"
	hostIPPortMap = "host-ip-ports"
	hairpinSet    = "hairpins"
)

func tableName(cluster string) string { return "coracle-net-" + cluster }

// nat keeps the nftables table: fixed chains, and one map element per host port.
type nat struct {
	nft    knftables.Interface
	config Config

	// mu also orders the transactions. applied is what the kernel has, by
	// identity of the element; it is nil when that is not known.
	mu      sync.Mutex
	applied map[string]*knftables.Element
}

func newNAT(nft knftables.Interface, config Config) *nat {
	return &nat{nft: nft, config: config}
}

// reset replaces the whole table in one transaction.
func (t *nat) reset(ctx context.Context, allocations []allocation) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.resetLocked(ctx, allocations)
}

func (t *nat) resetLocked(ctx context.Context, allocations []allocation) error {
	tx := t.nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	t.addTable(tx)
	elements := hostPortElements(allocations)
	for _, id := range sortedKeys(elements) {
		tx.Add(elements[id])
	}
	t.applied = nil
	if err := t.nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("writing the table of the pod network: %w", err)
	}
	t.applied = elements
	return nil
}

// sync brings the host ports up to date. list is called under the lock, so that
// of two calls the later one sees the later state.
func (t *nat) sync(ctx context.Context, list func() []allocation) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.applied == nil {
		return t.resetLocked(ctx, list())
	}
	tx := t.nft.NewTransaction()
	want := hostPortElements(list())
	for _, id := range sortedKeys(t.applied) {
		if w, ok := want[id]; !ok || !slices.Equal(w.Value, t.applied[id].Value) {
			tx.Delete(t.applied[id])
		}
	}
	for _, id := range sortedKeys(want) {
		if had, ok := t.applied[id]; !ok || !slices.Equal(had.Value, want[id].Value) {
			tx.Add(want[id])
		}
	}
	if tx.NumOperations() == 0 {
		return nil
	}
	if err := t.nft.Run(ctx, tx); err != nil {
		// Somebody else may have changed the table; the whole of it is known.
		return t.resetLocked(ctx, list())
	}
	t.applied = want
	return nil
}

// hostPortElements renders the host ports. Where two pods claim one port, the
// younger gets it: the older is on its way out.
func hostPortElements(allocations []allocation) map[string]*knftables.Element {
	elements := map[string]*knftables.Element{}
	add := func(e *knftables.Element) { elements[e.Map+e.Set+" "+strings.Join(e.Key, ".")] = e }
	for _, a := range allocations {
		for _, p := range a.Ports {
			key := []string{strings.ToLower(p.Protocol), strconv.Itoa(p.HostPort)}
			value := []string{a.Address.String(), strconv.Itoa(p.ContainerPort)}
			ip, err := netip.ParseAddr(p.HostIP)
			if err != nil || ip.IsUnspecified() {
				add(&knftables.Element{Map: hostPortMap, Key: key, Value: value})
			} else if ip.Is4() {
				add(&knftables.Element{Map: hostIPPortMap, Key: append([]string{ip.String()}, key...), Value: value})
			}
		}
		if len(a.Ports) > 0 {
			add(&knftables.Element{Set: hairpinSet, Key: []string{a.Address.String(), a.Address.String()}})
		}
	}
	return elements
}

// baseChains are those that packets enter by, in the order of the hooks.
var baseChains = []struct {
	name     string
	kind     knftables.BaseChainType
	hook     knftables.BaseChainHook
	priority knftables.BaseChainPriority
}{
	{"guard-prerouting", knftables.FilterType, knftables.PreroutingHook, knftables.RawPriority},
	{"prerouting", knftables.NATType, knftables.PreroutingHook, knftables.DNATPriority},
	{"output", knftables.NATType, knftables.OutputHook, "-100"},
	{"guard-forward", knftables.FilterType, knftables.ForwardHook, knftables.FilterPriority},
	{"guard-output", knftables.FilterType, knftables.OutputHook, knftables.FilterPriority},
	{"postrouting", knftables.NATType, knftables.PostroutingHook, knftables.SNATPriority},
	{"guard-postrouting", knftables.FilterType, knftables.PostroutingHook, knftables.SNATPriority + "+10"},
}

// addTable adds everything but the host ports.
func (t *nat) addTable(tx *knftables.Transaction) {
	tx.Add(&knftables.Table{Comment: knftables.PtrTo("pod network of Coracle cluster " + t.config.ClusterName)})
	tx.Add(&knftables.Map{Name: hostPortMap, Type: "inet_proto . inet_service : ipv4_addr . inet_service"})
	tx.Add(&knftables.Map{Name: hostIPPortMap, Type: "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service"})
	tx.Add(&knftables.Set{Name: hairpinSet, Type: "ipv4_addr . ipv4_addr"})
	for _, c := range baseChains {
		tx.Add(&knftables.Chain{Name: c.name, Type: knftables.PtrTo(c.kind), Hook: knftables.PtrTo(c.hook), Priority: knftables.PtrTo(c.priority)})
	}
	tx.Add(&knftables.Chain{Name: "host-ports"})
	for _, r := range t.rules() {
		tx.Add(&knftables.Rule{Chain: r[0], Rule: r[1]})
	}
}

// rules returns pairs of chain and rule.
func (t *nat) rules() [][2]string {
	c := t.config
	pods, device := `"`+c.linkPrefix()+`*"`, `"`+c.Interface+`"`
	cluster := c.ClusterCIDR.String()
	var services []string
	for _, p := range c.services() {
		services = append(services, p.String())
	}
	all := strings.Join(services, ", ")
	return [][2]string{
		// route_localnet on the pods' links is for answers only.
		{"guard-prerouting", knftables.Concat("iifname", pods, "ip daddr 127.0.0.0/8 drop")},
		{"prerouting", "fib daddr type local jump host-ports"},
		{"output", "fib daddr type local jump host-ports"},
		{"host-ports", knftables.Concat("dnat ip to ip daddr . meta l4proto . th dport map", "@", hostIPPortMap)},
		{"host-ports", knftables.Concat("dnat ip to meta l4proto . th dport map", "@", hostPortMap)},
		// An invalid packet is not translated and would leave with a pod's address.
		{"guard-forward", knftables.Concat("iifname", pods, "ct state invalid drop")},
		// The way through the gateway is the only one; a pod need not be told.
		{"guard-output", knftables.Concat("oifname", pods, "icmp type redirect drop")},
		// A pod that reaches itself would not accept its own address as source.
		{"postrouting", knftables.Concat("ip saddr . ip daddr", "@", hairpinSet, "masquerade")},
		{"postrouting", knftables.Concat("oifname", pods, "ip saddr 127.0.0.0/8 masquerade")},
		{"postrouting", knftables.Concat("oifname", pods, "return")},
		{"postrouting", knftables.Concat("oifname { lo,", device, "} return")},
		{"postrouting", knftables.Concat("ip daddr {", cluster+",", all, "} return")},
		{"postrouting", knftables.Concat("ip saddr", c.PodCIDR.String(), "masquerade fully-random")},
		{"guard-postrouting", knftables.Concat("oifname !=", device, "ip daddr {", all, "} drop")},
	}
}

// deleteTable removes a table, whether or not it exists.
func deleteTable(ctx context.Context, name string) error {
	nft, err := knftables.New(knftables.IPv4Family, name)
	if err != nil {
		return fmt.Errorf("opening nftables: %w", err)
	}
	tx := nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	if err := nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("deleting table %s: %w", name, err)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
