package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// routeProtocol marks the routes that this package made; `ip route` shows it
	// as "proto 200".
	routeProtocol = 200
	// serviceMetric lets any route of the administrator win over ours.
	serviceMetric = 1024
	// lastResortMetric is beyond that of any route that leads somewhere.
	lastResortMetric = 1 << 30
)

// setUpHost makes the gateway's device and the routes of the ranges.
func (n *Network) setUpHost() error {
	if err := setSysctl("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	link, err := n.gatewayLink()
	if err != nil {
		return err
	}
	if err := n.setGatewayAddress(link); err != nil {
		return err
	}
	for _, r := range n.routes(link.Attrs().Index) {
		if err := n.host.RouteReplace(r); err != nil {
			return fmt.Errorf("adding route %v: %w", r.Dst, err)
		}
	}
	return nil
}

// gatewayLink finds or makes the device. It is a bridge without ports, since
// that is the one kind of virtual device which every kernel with containers has.
func (n *Network) gatewayLink() (netlink.Link, error) {
	name := n.config.Interface
	link, err := n.host.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = name, n.config.MTU
		snooping := false
		if err := n.host.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}); err != nil {
			return nil, fmt.Errorf("adding device %s: %w", name, err)
		}
		link, err = n.host.LinkByName(name)
	}
	if err != nil {
		return nil, fmt.Errorf("finding device %s: %w", name, err)
	}
	if link.Type() != "bridge" {
		return nil, fmt.Errorf("device %s exists and is a %s; remove it or choose another name", name, link.Type())
	}
	if err := n.host.LinkSetIP6AddrGenMode(link, nl6AddrGenNone); err != nil && !unsupported(err) {
		return nil, fmt.Errorf("setting the IPv6 mode of %s: %w", name, err)
	}
	if err := n.host.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("setting %s up: %w", name, err)
	}
	return link, setSysctl("net/ipv4/conf/"+name+"/route_localnet", "1")
}

// setGatewayAddress makes the gateway's the device's only address.
func (n *Network) setGatewayAddress(link netlink.Link) error {
	had, err := n.host.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("listing the addresses of %s: %w", n.config.Interface, err)
	}
	want := hostNet(n.Gateway())
	for _, a := range had {
		if a.IPNet.String() == want.String() {
			continue
		}
		if err := n.host.AddrDel(link, &a); err != nil {
			return fmt.Errorf("removing address %v from %s: %w", a.IPNet, n.config.Interface, err)
		}
	}
	if err := n.host.AddrReplace(link, &netlink.Addr{IPNet: want}); err != nil {
		return fmt.Errorf("adding address %v to %s: %w", want, n.config.Interface, err)
	}
	return nil
}

// routes returns those of the ranges. A local program's first packet to a
// Service is routed before the proxy rewrites it, so the service range needs a
// route that leads somewhere; it also gives such packets their source address.
// What nothing rewrites is lost in the device, which has no ports.
func (n *Network) routes(device int) []*netlink.Route {
	var routes []*netlink.Route
	for _, p := range n.config.services() {
		routes = append(routes, &netlink.Route{
			LinkIndex: device, Dst: ipNet(p), Scope: netlink.SCOPE_LINK,
			Src: n.Gateway().AsSlice(), Priority: serviceMetric, Protocol: routeProtocol,
		})
	}
	for _, p := range n.config.ranges() {
		routes = append(routes, &netlink.Route{
			Dst: ipNet(p), Type: unix.RTN_UNREACHABLE, Priority: lastResortMetric, Protocol: routeProtocol,
		})
	}
	return routes
}

// ranges lists those that must never be routed off the host.
func (c Config) ranges() []netip.Prefix {
	ranges := append([]netip.Prefix{c.ClusterCIDR}, c.services()...)
	if !contains(c.ClusterCIDR, c.PodCIDR) {
		ranges = append(ranges, c.PodCIDR)
	}
	return ranges
}

func contains(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// tearDownHost removes links, device and routes.
func (n *Network) tearDownHost() error {
	links, err := n.podLinks()
	errs := []error{err}
	for _, link := range links {
		errs = append(errs, n.deleteLink(link))
	}
	if n.config.Interface != "" {
		errs = append(errs, n.deleteLink(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: n.config.Interface}}))
	}
	for _, p := range n.config.ranges() {
		if !p.IsValid() {
			continue
		}
		route := &netlink.Route{Dst: ipNet(p), Type: unix.RTN_UNREACHABLE, Priority: lastResortMetric, Protocol: routeProtocol}
		if err := n.host.RouteDel(route); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("removing route %v: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

// defaultMTU is that of the link of the default route.
func defaultMTU() int {
	const ethernet = 1500
	routes, err := netlink.RouteGet(net.IPv4(1, 1, 1, 1)) // looked up, not sent to
	if err != nil || len(routes) == 0 {
		return ethernet
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil || link.Attrs().MTU < 1280 || link.Attrs().MTU > 9216 {
		return ethernet
	}
	return link.Attrs().MTU
}
