package proxy

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// flows decides which UDP flows must end: those to an address that a Service
// has, or had, and whose answers come from where no endpoint of it is. Among
// them are flows that began while the Service had none, and so were never
// translated.
type flows struct {
	allowed map[string]map[netip.AddrPort]bool
	// services is the range in which every flow belongs to a Service.
	services netip.Prefix
	// local are the addresses of this node.
	local map[netip.Addr]bool
}

// newFlows knows the ruleset that holds now and the one that held before.
func newFlows(before, now fragment, services netip.Prefix, local []netip.Addr) flows {
	f := flows{allowed: map[string]map[netip.AddrPort]bool{}, services: services, local: map[netip.Addr]bool{}}
	for key := range before.udp {
		f.allowed[key] = nil
	}
	for key, allowed := range now.udp {
		f.allowed[key] = allowed
	}
	for _, a := range local {
		f.local[a] = true
	}
	return f
}

// MatchConntrackFlow tells whether the flow must end.
func (f flows) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	to, ok := addrPort(flow.Forward.DstIP, flow.Forward.DstPort)
	from, okFrom := addrPort(flow.Reverse.SrcIP, flow.Reverse.SrcPort)
	if !ok || !okFrom {
		return false
	}
	allowed, known := f.allowed[addressKey(to.Addr(), "udp", int32(to.Port()))]
	if !known && f.local[to.Addr()] {
		allowed, known = f.allowed[portKey("udp", int32(to.Port()))]
	}
	if !known {
		return f.services.IsValid() && f.services.Contains(to.Addr())
	}
	return !allowed[from]
}

func addrPort(ip net.IP, port uint16) (netip.AddrPort, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), port), ok
}

// endStaleFlows ends UDP flows that the change from one ruleset to another, or
// one that happened while nobody was looking, has cut from their endpoint.
func endStaleFlows(before, now fragment, services netip.Prefix) (uint, error) {
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return 0, fmt.Errorf("listing the addresses of the node: %w", err)
	}
	local := []netip.Addr{}
	for _, a := range addresses {
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok {
			local = append(local, ip)
		}
	}
	ended, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, newFlows(before, now, services, local))
	if err != nil {
		return ended, fmt.Errorf("ending stale UDP flows: %w", err)
	}
	return ended, nil
}
