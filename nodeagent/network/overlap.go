package network

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Overlap tells that the host already uses a part of a range.
type Overlap struct {
	// Range is the one that was asked about, Used the host's.
	Range, Used netip.Prefix
	// By says what uses it, such as "route through docker0" or "address of eth0".
	By string
}

func (o Overlap) String() string { return fmt.Sprintf("%v overlaps %v, %s", o.Range, o.Used, o.By) }

// Overlaps finds routes and addresses of the host that share addresses with the
// ranges of the Config. What the cluster of that name made itself, default
// routes and routes that lead nowhere do not count.
func Overlaps(config Config) ([]Overlap, error) {
	host, err := netlink.NewHandle()
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	defer host.Close()
	links, err := host.LinkList()
	if err != nil {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	names, own := map[int]string{}, map[int]bool{}
	for _, l := range links {
		a := l.Attrs()
		names[a.Index] = a.Name
		own[a.Index] = a.Name == config.Interface || strings.HasPrefix(a.Name, config.linkPrefix())
	}
	routes, err := host.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	var found []Overlap
	for _, r := range routes {
		if used, ok := prefix(r.Dst); ok && r.Type == unix.RTN_UNICAST && !own[r.LinkIndex] {
			found = append(found, overlaps(config, used, "route through "+names[r.LinkIndex])...)
		}
	}
	addresses, err := host.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	for _, a := range addresses {
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok && !own[a.LinkIndex] {
			found = append(found, overlaps(config, netip.PrefixFrom(ip, 32), "address of "+names[a.LinkIndex])...)
		}
	}
	return found, nil
}

func overlaps(config Config, used netip.Prefix, by string) []Overlap {
	var found []Overlap
	for _, r := range config.ranges() {
		if r.IsValid() && r.Overlaps(used) {
			found = append(found, Overlap{Range: r, Used: used, By: by})
		}
	}
	return found
}

// prefix converts a route's destination; false for a default route.
func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP.To4())
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a, bits), ok && bits > 0
}
