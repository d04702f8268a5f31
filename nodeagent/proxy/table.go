package proxy

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/klog/v2"
	"sigs.k8s.io/knftables"
)

func tableName(cluster string) string { return "coracle-proxy-" + cluster }

// masqueradeMark is the bit that Kubernetes uses for the same purpose. It lives
// from one chain to the next within the host.
const masqueradeMark = "0x4000"

// table is the kernel's table. It is used by one goroutine.
type table struct {
	nft    knftables.Interface
	config Config
	// applied is what the kernel has, and known whether that is certain.
	applied fragment
	known   bool
}

func newTable(nft knftables.Interface, config Config) *table {
	return &table{nft: nft, config: config, applied: newFragment()}
}

// apply makes the kernel's table that of want. After an error the next call
// writes everything.
func (t *table) apply(ctx context.Context, want fragment) error {
	if !t.known {
		return t.replace(ctx, want)
	}
	tx := t.nft.NewTransaction()
	writeDifference(tx, t.applied, want)
	if tx.NumOperations() == 0 {
		t.applied = want
		return nil
	}
	if err := t.nft.Run(ctx, tx); err != nil {
		t.known = false
		return fmt.Errorf("writing the rules of Services: %w", err)
	}
	t.applied = want
	return nil
}

// replace writes everything in one transaction, over whatever is there. If an
// object of another shape is in the way, such as that of an older version, the
// table is made anew, and session affinity forgotten.
func (t *table) replace(ctx context.Context, want fragment) error {
	had, err := t.nft.ListAll(ctx)
	if err != nil && !knftables.IsNotFound(err) {
		return fmt.Errorf("listing the rules of Services: %w", err)
	}
	tx := t.nft.NewTransaction()
	t.writeOver(tx, had, want)
	if err := t.nft.Run(ctx, tx); err != nil {
		klog.FromContext(ctx).Info("Making the table of Services anew", "reason", err.Error())
		tx = t.nft.NewTransaction()
		tx.Add(&knftables.Table{})
		tx.Delete(&knftables.Table{})
		t.writeOver(tx, nil, want)
		if err := t.nft.Run(ctx, tx); err != nil {
			return fmt.Errorf("writing the rules of Services: %w", err)
		}
	}
	t.applied, t.known = want, true
	return nil
}

// writeOver turns objects of the listed names into the wanted ones.
func (t *table) writeOver(tx *knftables.Transaction, had map[string][]string, want fragment) {
	tx.Add(&knftables.Table{Comment: knftables.PtrTo("Services of Coracle cluster " + t.config.ClusterName)})
	for _, name := range had["chain"] {
		tx.Flush(&knftables.Chain{Name: name})
	}
	base := t.addBase(tx, had["map"])
	empty := newFragment()
	writeDifference(tx, empty, want)

	keep := func(name string) bool {
		_, chain := want.chains[name]
		_, set := want.affinity[name]
		return chain || set || base[name]
	}
	for _, name := range had["chain"] {
		if !keep(name) {
			tx.Delete(&knftables.Chain{Name: name})
		}
	}
	for _, name := range had["map"] {
		if !keep(name) {
			tx.Delete(&knftables.Map{Name: name})
		}
	}
	for _, name := range had["set"] {
		if !keep(name) {
			tx.Delete(&knftables.Set{Name: name})
		}
	}
}

// intact tells whether the table is still there. Whoever touches the rules of
// others, such as a firewall that starts, drops them all; so one chain is looked
// at, which costs little however many Services there are.
func (t *table) intact(ctx context.Context) (bool, error) {
	if !t.known {
		return false, nil
	}
	rules, err := t.nft.ListRules(ctx, servicesChain)
	if knftables.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("listing the rules of Services: %w", err)
	}
	return len(rules) > 0, nil
}

var baseMaps = []struct{ name, kind string }{
	{serviceIPs, "ipv4_addr . inet_proto . inet_service : verdict"},
	{serviceNodes, "inet_proto . inet_service : verdict"},
	{unservedIPs, "ipv4_addr . inet_proto . inet_service : verdict"},
	{unservedNodes, "inet_proto . inet_service : verdict"},
	{firewallIPs, "ipv4_addr . inet_proto . inet_service : verdict"},
}

// baseChains are the fixed chains; those with a hook are where packets enter.
var baseChains = []struct {
	name     string
	kind     knftables.BaseChainType
	hook     knftables.BaseChainHook
	priority knftables.BaseChainPriority
}{
	{"prerouting", knftables.NATType, knftables.PreroutingHook, knftables.DNATPriority},
	{"output", knftables.NATType, knftables.OutputHook, "-100"},
	{"postrouting", knftables.NATType, knftables.PostroutingHook, knftables.SNATPriority},
	// Before translation, while the address of the load balancer is still there.
	{"filter-prerouting", knftables.FilterType, knftables.PreroutingHook, knftables.DNATPriority + "-10"},
	// After translation: what still has a Service's address was not translated.
	{"filter-input", knftables.FilterType, knftables.InputHook, knftables.FilterPriority},
	{"filter-forward", knftables.FilterType, knftables.ForwardHook, knftables.FilterPriority},
	{"filter-output", knftables.FilterType, knftables.OutputHook, knftables.FilterPriority},
	{name: servicesChain},
	{name: "unserved"},
	{name: refuseChain},
	{name: masqueradeChain},
}

// addBase adds the fixed objects, flushes the maps among the existing ones, and
// returns the names of all.
func (t *table) addBase(tx *knftables.Transaction, existing []string) map[string]bool {
	names := map[string]bool{}
	for _, m := range baseMaps {
		names[m.name] = true
		tx.Add(&knftables.Map{Name: m.name, Type: m.kind})
		if slices.Contains(existing, m.name) {
			tx.Flush(&knftables.Map{Name: m.name})
		}
	}
	for _, c := range baseChains {
		names[c.name] = true
		chain := &knftables.Chain{Name: c.name}
		if c.hook != "" {
			chain.Type, chain.Hook, chain.Priority = &c.kind, &c.hook, &c.priority
		}
		tx.Add(chain)
	}
	for _, r := range t.baseRules() {
		addRules(tx, r.chain, r.rules)
	}
	return names
}

func (t *table) baseRules() []struct {
	chain string
	rules []string
} {
	const address, port = "ip daddr . meta l4proto . th dport vmap @", "meta l4proto . th dport vmap @"
	node := nodeMatch(t.config.nodePortAddresses())
	unserved := []string{address + unservedIPs, node + port + unservedNodes}
	for _, p := range []netip.Prefix{t.config.ServiceCIDR, t.config.LoadBalancerCIDR} {
		if p.IsValid() {
			unserved = append(unserved, "ip daddr "+p.String()+" goto "+refuseChain)
		}
	}
	onNew := []string{"ct state new jump unserved"}
	return []struct {
		chain string
		rules []string
	}{
		{"prerouting", []string{"jump " + servicesChain}},
		{"output", []string{"jump " + servicesChain}},
		{servicesChain, []string{address + serviceIPs, node + port + serviceNodes}},
		{masqueradeChain, []string{"mark set mark or " + masqueradeMark}},
		{"postrouting", []string{
			"mark and " + masqueradeMark + " == 0 return",
			"mark set mark xor " + masqueradeMark, // once is enough, where a packet passes twice
			"masquerade fully-random",
		}},
		{"filter-prerouting", []string{"ct state new " + address + firewallIPs}},
		{"filter-input", onNew}, {"filter-forward", onNew}, {"filter-output", onNew},
		{"unserved", unserved},
		{refuseChain, []string{"meta l4proto tcp reject with tcp reset", "reject with icmp type port-unreachable"}},
	}
}

// nodeMatch begins a rule for packets to this node's own addresses.
func nodeMatch(addresses []string) string {
	if slices.Contains(addresses, "0.0.0.0/0") {
		return "fib daddr type local "
	}
	return "fib daddr type local ip daddr { " + strings.Join(addresses, ", ") + " } "
}
