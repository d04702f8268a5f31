package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// hostEndMAC is the hardware address of every host end. They share no segment,
// so it need not be unique; being known, it saves pods from asking.
var hostEndMAC = net.HardwareAddr{0xee, 0xee, 0xee, 0xee, 0xee, 0xee}

// podMAC derives a pod's hardware address from its IP address, so that the
// host knows it as well.
func podMAC(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x0a, 0x58, b[0], b[1], b[2], b[3]}
}

// attach gives the sandbox an interface and an address, or verifies those that
// it has.
func (n *Network) attach(ctx context.Context, want allocation) (allocation, error) {
	defer n.lock(want.ContainerID)()
	want.Created = n.now()
	a, err := n.pool.allocate(want)
	if err != nil {
		return a, err
	}
	if err := n.connect(a); err != nil {
		return a, errors.Join(err, n.disconnect(a.Address), n.pool.release(a.key()))
	}
	if len(a.Ports) > 0 {
		if err := n.nat.sync(ctx, n.pool.list); err != nil {
			return a, errors.Join(err, n.disconnect(a.Address), n.pool.release(a.key()))
		}
	}
	return a, nil
}

// connect makes the pair of links. What an earlier call left under the same
// names is replaced.
func (n *Network) connect(a allocation) error {
	ns, err := netns.GetFromPath(a.NetNS)
	if err != nil {
		return fmt.Errorf("opening network namespace %s: %w", a.NetNS, err)
	}
	defer ns.Close()
	pod, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("entering network namespace %s: %w", a.NetNS, err)
	}
	defer pod.Close()

	host, err := n.addPair(pod, a, ns)
	if err != nil {
		return err
	}
	if err := n.setUpPodEnd(pod, a); err != nil {
		return err
	}
	return n.setUpHostEnd(host, a.Address)
}

// addPair creates both links in one request and returns the host end's index.
func (n *Network) addPair(pod *netlink.Handle, a allocation, ns netns.NsHandle) (int, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.config.linkName(a.Address)
	attrs.MTU = n.config.MTU
	attrs.HardwareAddr = hostEndMAC
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerHardwareAddr = a.IfName, podMAC(a.Address)
	veth.PeerMTU, veth.PeerNamespace = uint32(n.config.MTU), netlink.NsFd(int(ns))
	err := n.host.LinkAdd(veth)
	if errors.Is(err, unix.EEXIST) {
		if err := errors.Join(n.disconnect(a.Address), deleteVeth(pod, a.IfName)); err != nil {
			return 0, err
		}
		err = n.host.LinkAdd(veth)
	}
	if err != nil {
		return 0, fmt.Errorf("adding links %s and %s: %w", attrs.Name, a.IfName, err)
	}
	if veth.Index != 0 {
		return veth.Index, nil
	}
	link, err := n.host.LinkByName(attrs.Name)
	if err != nil {
		return 0, fmt.Errorf("finding link %s: %w", attrs.Name, err)
	}
	return link.Attrs().Index, nil
}

// setUpPodEnd configures the pod's interface: address, gateway, default route.
func (n *Network) setUpPodEnd(pod *netlink.Handle, a allocation) error {
	link, err := pod.LinkByName(a.IfName)
	if err != nil {
		return fmt.Errorf("finding %s in the pod: %w", a.IfName, err)
	}
	index, gateway := link.Attrs().Index, n.Gateway().AsSlice()
	// No IPv6 address of its own making: it would only send out solicitations.
	if err := pod.LinkSetIP6AddrGenMode(link, nl6AddrGenNone); err != nil && !unsupported(err) {
		return fmt.Errorf("setting the IPv6 mode of %s in the pod: %w", a.IfName, err)
	}
	if err := pod.AddrAdd(link, &netlink.Addr{IPNet: hostNet(a.Address)}); err != nil {
		return fmt.Errorf("adding address %v in the pod: %w", a.Address, err)
	}
	if err := pod.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting %s up in the pod: %w", a.IfName, err)
	}
	if err := pod.NeighSet(permanentNeighbour(index, n.Gateway(), hostEndMAC)); err != nil {
		return fmt.Errorf("adding the gateway's neighbour entry in the pod: %w", err)
	}
	routes := []*netlink.Route{
		{LinkIndex: index, Dst: hostNet(n.Gateway()), Scope: netlink.SCOPE_LINK},
		{LinkIndex: index, Gw: gateway},
	}
	for _, r := range routes {
		if err := pod.RouteAdd(r); err != nil {
			return fmt.Errorf("adding route %v in the pod: %w", r.Dst, err)
		}
	}
	return nil
}

// setUpHostEnd configures the host's end of a pod's link. It may be repeated.
func (n *Network) setUpHostEnd(index int, pod netip.Addr) error {
	name := n.config.linkName(pod)
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, Index: index}}
	if err := n.host.LinkSetIP6AddrGenMode(link, nl6AddrGenNone); err != nil && !unsupported(err) {
		return fmt.Errorf("setting the IPv6 mode of %s: %w", name, err)
	}
	// Without this, what the node sends from 127.0.0.1 to a host port or a node
	// port of its own cannot be routed to the pod. The guard chain in nftables
	// keeps pods from reaching 127.0.0.0/8 of the host this way.
	if err := setSysctl("net/ipv4/conf/"+name+"/route_localnet", "1"); err != nil {
		return err
	}
	if err := n.host.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting %s up: %w", name, err)
	}
	if err := n.host.NeighSet(permanentNeighbour(index, pod, podMAC(pod))); err != nil {
		return fmt.Errorf("adding the neighbour entry of %v: %w", pod, err)
	}
	route := &netlink.Route{
		LinkIndex: index, Dst: hostNet(pod), Scope: netlink.SCOPE_LINK,
		Src: n.Gateway().AsSlice(), Protocol: routeProtocol,
	}
	if err := n.host.RouteReplace(route); err != nil {
		return fmt.Errorf("adding the route of %v: %w", pod, err)
	}
	return nil
}

// detach ends the owner's traffic and frees its address and host ports. What is
// gone already is no error. The links are left to go with the pod's namespace:
// to delete one takes 20 ms, in which nobody else in the kernel can change a
// link, while the kernel ends namespaces in batches. Without its route the pod
// is cut off just as well.
func (n *Network) detach(ctx context.Context, k attachment) error {
	defer n.lock(k.ContainerID)()
	a, ok := n.pool.lookup(k)
	if !ok {
		return nil
	}
	route := &netlink.Route{Dst: hostNet(a.Address), Scope: netlink.SCOPE_LINK, Protocol: routeProtocol}
	if err := n.host.RouteDel(route); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("deleting the route of %v: %w", a.Address, err)
	}
	if err := n.pool.release(k); err != nil {
		return err
	}
	if len(a.Ports) > 0 {
		return n.nat.sync(ctx, n.pool.list)
	}
	return nil
}

// disconnect deletes the pair of links by its host end, if it is there.
func (n *Network) disconnect(a netip.Addr) error {
	return n.deleteLink(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: n.config.linkName(a)}})
}

// deleteVeth deletes a pair by its end in a pod. A link of another kind is the
// pod's own.
func deleteVeth(pod *netlink.Handle, name string) error {
	link, err := pod.LinkByName(name)
	if err != nil || link.Type() != "veth" {
		return nil
	}
	if err := pod.LinkDel(link); err != nil {
		return fmt.Errorf("deleting link %s in the pod: %w", name, err)
	}
	return nil
}

func (n *Network) deleteLink(link netlink.Link) error {
	name := link.Attrs().Name
	found, err := n.host.LinkByName(name)
	if err == nil {
		err = n.host.LinkDel(found)
	}
	var missing netlink.LinkNotFoundError
	if err != nil && !errors.As(err, &missing) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("deleting link %s: %w", name, err)
	}
	return nil
}

// verify tells whether the pod's interface is as attach made it.
func (n *Network) verify(a allocation) error {
	ns, err := netns.GetFromPath(a.NetNS)
	if err != nil {
		return fmt.Errorf("opening network namespace %s: %w", a.NetNS, err)
	}
	defer ns.Close()
	pod, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("entering network namespace %s: %w", a.NetNS, err)
	}
	defer pod.Close()
	link, err := pod.LinkByName(a.IfName)
	if err != nil {
		return fmt.Errorf("finding %s in the pod: %w", a.IfName, err)
	}
	addresses, err := pod.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("listing the addresses of the pod: %w", err)
	}
	for _, got := range addresses {
		if got.IP.Equal(a.Address.AsSlice()) {
			_, err := n.host.LinkByName(n.config.linkName(a.Address))
			return err
		}
	}
	return fmt.Errorf("%s in the pod lacks address %v", a.IfName, a.Address)
}

// podLinks returns the host ends of all pods' links by name.
func (n *Network) podLinks() (map[string]netlink.Link, error) {
	all, err := n.host.LinkList()
	if err != nil {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	links := map[string]netlink.Link{}
	for _, l := range all {
		if strings.HasPrefix(l.Attrs().Name, n.config.linkPrefix()) {
			links[l.Attrs().Name] = l
		}
	}
	return links, nil
}

// nl6AddrGenNone is IN6_ADDR_GEN_MODE_NONE of linux/if_link.h.
const nl6AddrGenNone = 1

// unsupported recognises a kernel without IPv6.
func unsupported(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)
}

func permanentNeighbour(link int, a netip.Addr, mac net.HardwareAddr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: link, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: mac}
}

func hostNet(a netip.Addr) *net.IPNet { return ipNet(netip.PrefixFrom(a, a.BitLen())) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func setSysctl(key, value string) error {
	path := "/proc/sys/" + key
	if had, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(had)) == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("setting %s to %s: %w", strings.ReplaceAll(key, "/", "."), value, err)
	}
	return nil
}
