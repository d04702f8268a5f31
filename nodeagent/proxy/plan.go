package proxy

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// The verdict maps. The first two lead to endpoints; the next two say what
// becomes of a packet that the first two left alone.
const (
	serviceIPs      = "service-ips"
	serviceNodes    = "service-nodeports"
	unservedIPs     = "unserved-ips"
	unservedNodes   = "unserved-nodeports"
	firewallIPs     = "firewall-ips"
	servicesChain   = "services"
	masqueradeChain = "mark-for-masquerade"
	refuseChain     = "refuse"
)

const defaultAffinity = 3 * time.Hour // as the API server defaults it

// endpoint is one address and port behind a Service's port.
type endpoint struct {
	addr  netip.AddrPort
	local bool
}

// endpoints of one Service port, by who may be given them. all is what cluster
// traffic policy uses, local what local policy uses.
type endpoints struct{ all, local []endpoint }

// by returns those that a traffic policy uses.
func (e endpoints) by(local bool) []endpoint {
	if local {
		return e.local
	}
	return e.all
}

// planService renders one Service. slices are those of the Service, in any
// order. A Service that needs no proxy gives an empty fragment.
func planService(svc *corev1.Service, eps []*discoveryv1.EndpointSlice, c Config) fragment {
	f := newFragment()
	if !proxied(svc) {
		return f
	}
	for i := range svc.Spec.Ports {
		p := portPlan{f: &f, svc: svc, port: &svc.Spec.Ports[i], clusterCIDR: c.ClusterCIDR}
		p.endpoints = selectEndpoints(eps, p.port, c.NodeName)
		p.plan()
	}
	return f
}

// proxied tells whether the Service has an address that needs rules.
func proxied(svc *corev1.Service) bool {
	if svc.Spec.Type == corev1.ServiceTypeExternalName || svc.Labels["service.kubernetes.io/service-proxy-name"] != "" {
		return false
	}
	return len(clusterIPs(svc)) > 0
}

func clusterIPs(svc *corev1.Service) []netip.Addr {
	if ips := parseIPv4(svc.Spec.ClusterIPs); len(ips) > 0 {
		return ips
	}
	return parseIPv4([]string{svc.Spec.ClusterIP})
}

// parseIPv4 leaves out what is not an IPv4 address, "None" among it.
func parseIPv4(in []string) []netip.Addr {
	var out []netip.Addr
	for _, s := range in {
		if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
			out = append(out, a)
		}
	}
	return out
}

// externalIPs are the addresses from outside: those of the spec, and those of
// load balancers that hand packets on with the address intact.
func externalIPs(svc *corev1.Service) (plain, balanced []netip.Addr) {
	plain = parseIPv4(svc.Spec.ExternalIPs)
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return plain, nil
	}
	for _, in := range svc.Status.LoadBalancer.Ingress {
		if in.IPMode == nil || *in.IPMode == corev1.LoadBalancerIPModeVIP {
			balanced = append(balanced, parseIPv4([]string{in.IP})...)
		}
	}
	return plain, balanced
}

// selectEndpoints picks the endpoints of a port. Those that are ready serve; if
// there is none, those serve that are terminating and still say that they can.
// For local traffic policy, this node's are looked at by themselves.
func selectEndpoints(eps []*discoveryv1.EndpointSlice, port *corev1.ServicePort, node string) endpoints {
	ready, terminating := map[endpoint]bool{}, map[endpoint]bool{}
	for _, slice := range eps {
		number := slicePort(slice, port)
		if slice.AddressType != discoveryv1.AddressTypeIPv4 || number == 0 {
			continue
		}
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			if len(e.Addresses) == 0 {
				continue
			}
			ip, err := netip.ParseAddr(e.Addresses[0])
			if err != nil || !ip.Is4() {
				continue
			}
			it := endpoint{netip.AddrPortFrom(ip, number), e.NodeName != nil && *e.NodeName == node}
			isReady := e.Conditions.Ready == nil || *e.Conditions.Ready
			serving := isReady
			if e.Conditions.Serving != nil {
				serving = *e.Conditions.Serving
			}
			switch ending := e.Conditions.Terminating != nil && *e.Conditions.Terminating; {
			case isReady:
				ready[it] = true
			case serving && ending:
				terminating[it] = true
			}
		}
	}
	return endpoints{all: firstUsable(ready, terminating, false), local: firstUsable(ready, terminating, true)}
}

// slicePort is the number that the slice has for the Service's port, or zero.
func slicePort(slice *discoveryv1.EndpointSlice, port *corev1.ServicePort) uint16 {
	for _, p := range slice.Ports {
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		name := ""
		if p.Name != nil {
			name = *p.Name
		}
		if p.Port != nil && name == port.Name && protocol == protocolOf(port) {
			return uint16(*p.Port)
		}
	}
	return 0
}

func protocolOf(port *corev1.ServicePort) corev1.Protocol {
	return cmp.Or(port.Protocol, corev1.ProtocolTCP)
}

func firstUsable(ready, terminating map[endpoint]bool, localOnly bool) []endpoint {
	for _, set := range []map[endpoint]bool{ready, terminating} {
		var usable []endpoint
		for e := range set {
			if e.local || !localOnly {
				usable = append(usable, e)
			}
		}
		if len(usable) > 0 {
			slices.SortFunc(usable, func(a, b endpoint) int { return a.addr.Compare(b.addr) })
			return slices.CompactFunc(usable, func(a, b endpoint) bool { return a.addr == b.addr })
		}
	}
	return nil
}

// portPlan renders one port of a Service into a fragment.
type portPlan struct {
	f           *fragment
	svc         *corev1.Service
	port        *corev1.ServicePort
	endpoints   endpoints
	clusterCIDR netip.Prefix
}

func (p *portPlan) plan() {
	internalLocal := p.svc.Spec.InternalTrafficPolicy != nil && *p.svc.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal
	externalLocal := p.svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	for _, ip := range clusterIPs(p.svc) {
		p.flow(addressKey(ip, p.proto(), p.port.Port), p.endpoints.by(internalLocal)...)
		if p.reachable(internalLocal) {
			p.element(serviceIPs, addressKey(ip, p.proto(), p.port.Port), "goto "+p.chain("service", internalLocal))
		} else {
			p.element(unservedIPs, addressKey(ip, p.proto(), p.port.Port), p.unserved())
		}
	}
	if p.reachable(internalLocal) {
		p.balance(internalLocal)
	}
	p.external(externalLocal)
}

// reachable tells whether a policy leaves an endpoint.
func (p *portPlan) reachable(local bool) bool {
	return len(p.endpoints.by(local)) > 0
}

// unserved is what becomes of a packet that was not translated: a port without
// any endpoint refuses. One with endpoints elsewhere drops, so that whoever
// sent it here tries again at another node.
func (p *portPlan) unserved() string {
	if len(p.endpoints.all) > 0 {
		return "drop"
	}
	return "goto " + refuseChain
}

// masqueradeClusterIP is needed for what comes from neither a pod nor this
// node's gateway, since the endpoint might answer around this node.
func (p *portPlan) masqueradeClusterIP() []string {
	var rules []string
	for _, ip := range clusterIPs(p.svc) {
		rules = append(rules, fmt.Sprintf("ip daddr %s %s dport %d ip saddr != %s jump %s",
			ip, p.proto(), p.port.Port, p.clusterCIDR, masqueradeChain))
	}
	return rules
}

// external renders node port, external addresses and load balancers.
func (p *portPlan) external(local bool) {
	plain, balanced := externalIPs(p.svc)
	type target struct{ served, unserved, key string }
	var targets []target
	for _, ip := range slices.Concat(plain, balanced) {
		targets = append(targets, target{serviceIPs, unservedIPs, addressKey(ip, p.proto(), p.port.Port)})
	}
	if p.port.NodePort > 0 {
		targets = append(targets, target{serviceNodes, unservedNodes, portKey(p.proto(), p.port.NodePort)})
	}
	if len(targets) == 0 {
		return
	}
	for _, t := range targets {
		// With local policy too, pods and this node may have any endpoint.
		p.flow(t.key, slices.Concat(p.endpoints.all, p.endpoints.local)...)
		if p.reachable(false) {
			p.element(t.served, t.key, "goto "+p.chain("external", false))
		}
		if !p.reachable(local) {
			p.element(t.unserved, t.key, p.unserved())
		}
	}
	p.firewall(balanced)
	if p.reachable(false) {
		p.f.chains[p.chain("external", false)] = p.externalRules(local)
		p.balance(false)
	}
}

// externalRules of local policy keep the source address, and so use this node's
// endpoints alone. Pods and the node itself are not from outside: they may have
// any endpoint.
func (p *portPlan) externalRules(local bool) []string {
	service := p.chain("service", false)
	if !local {
		return []string{"jump " + masqueradeChain, "goto " + service}
	}
	rules := []string{
		fmt.Sprintf("ip saddr %s goto %s", p.clusterCIDR, service),
		"fib saddr type local jump " + masqueradeChain,
		"fib saddr type local goto " + service,
	}
	if p.reachable(true) {
		p.balance(true)
		rules = append(rules, "goto "+p.chain("service", true))
	}
	return rules
}

// firewall lets only the source ranges of the Service reach load balancers.
func (p *portPlan) firewall(balanced []netip.Addr) {
	var sources []string
	for _, s := range p.svc.Spec.LoadBalancerSourceRanges {
		if r, err := netip.ParsePrefix(strings.TrimSpace(s)); err == nil && r.Addr().Is4() {
			sources = append(sources, r.Masked().String())
		}
	}
	if len(sources) == 0 || len(balanced) == 0 || slices.Contains(sources, "0.0.0.0/0") {
		return
	}
	chain := p.chain("firewall", false)
	p.f.chains[chain] = []string{fmt.Sprintf("ip saddr != { %s } drop", strings.Join(slices.Compact(slices.Sorted(slices.Values(sources))), ", "))}
	for _, ip := range balanced {
		p.element(firewallIPs, addressKey(ip, p.proto(), p.port.Port), "goto "+chain)
	}
}

// balance renders the chain that picks an endpoint, and the endpoints' chains.
// Called twice for one chain, it renders the same.
func (p *portPlan) balance(local bool) {
	chosen, affinity := p.endpoints.by(local), p.affinity()
	// nft takes a comma after a name for a part of the name, if no blank is between.
	rules, targets := p.masqueradeClusterIP(), make([]string, len(chosen))
	for i, e := range chosen {
		chain, set := p.endpoint(e, affinity)
		targets[i] = fmt.Sprintf("%d : goto %s", i, chain)
		if set != "" {
			rules = append(rules, fmt.Sprintf("ip saddr @%s goto %s", set, chain))
		}
	}
	if len(targets) == 1 {
		rules = append(rules, strings.TrimPrefix(targets[0], "0 : "))
	} else {
		rules = append(rules, fmt.Sprintf("numgen random mod %d vmap { %s }", len(targets), strings.Join(targets, " , ")))
	}
	p.f.chains[p.chain("service", local)] = rules
}

// endpoint renders an endpoint's chain and, with affinity, the set of clients
// that belong to it.
func (p *portPlan) endpoint(e endpoint, affinity time.Duration) (chain, set string) {
	suffix := p.identity() + "__" + e.addr.Addr().String() + "/" + strconv.Itoa(int(e.addr.Port()))
	suffix = hash(suffix) + "-" + suffix
	chain = clip("endpoint-" + suffix)
	// A pod that reaches itself would drop its own address as a source.
	rules := []string{fmt.Sprintf("ip saddr %s jump %s", e.addr.Addr(), masqueradeChain)}
	if affinity > 0 {
		// A set's timeout cannot be changed, so it is part of the name.
		set = clip(fmt.Sprintf("affinity-%d-%s", int(affinity.Seconds()), suffix))
		p.f.affinity[set] = affinity
		rules = append(rules, fmt.Sprintf("update @%s { ip saddr }", set))
	}
	p.f.chains[chain] = append(rules, fmt.Sprintf("meta l4proto %s dnat to %s", p.proto(), e.addr))
	return chain, set
}

func (p *portPlan) affinity() time.Duration {
	if p.svc.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	c := p.svc.Spec.SessionAffinityConfig
	if c == nil || c.ClientIP == nil || c.ClientIP.TimeoutSeconds == nil {
		return defaultAffinity
	}
	return time.Duration(*c.ClientIP.TimeoutSeconds) * time.Second
}

// flow notes where the UDP flows of a key may lead.
func (p *portPlan) flow(key string, to ...endpoint) {
	if protocolOf(p.port) != corev1.ProtocolUDP {
		return
	}
	allowed := map[netip.AddrPort]bool{}
	for _, e := range to {
		allowed[e.addr] = true
	}
	p.f.udp[key] = allowed
}

func (p *portPlan) element(mapName, key, verdict string) {
	p.f.elements[elementID{mapName, key}] = verdict
}

func (p *portPlan) proto() string { return strings.ToLower(string(protocolOf(p.port))) }

func (p *portPlan) identity() string {
	return p.svc.Namespace + "/" + p.svc.Name + "/" + p.proto() + "/" + p.port.Name
}

// chain names one of the port's chains.
func (p *portPlan) chain(kind string, local bool) string {
	if local {
		kind += "-local"
	}
	return clip(kind + "-" + hash(p.identity()) + "-" + p.identity())
}

// hash keeps names apart that clip makes equal.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
}

// clip keeps within the length that every version of nft takes.
func clip(s string) string { return s[:min(len(s), 120)] }

// addressKey and portKey are the keys of the verdict maps, in nft's words.
func addressKey(ip netip.Addr, protocol string, port int32) string {
	return fmt.Sprintf("%s . %s . %d", ip, protocol, port)
}

func portKey(protocol string, port int32) string { return fmt.Sprintf("%s . %d", protocol, port) }
