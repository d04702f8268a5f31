package preflight

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// checkInterfaces makes a bridge and a pair of virtual interfaces in a network namespace of its
// own, which goes with the thread that it is made on.
func checkInterfaces() Finding {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread and its namespace end with the goroutine
		result <- tryInterfaces()
	}()
	if err := <-result; err != nil {
		return fail("interfaces", "modprobe --all bridge veth", "making a bridge and a veth pair in a new network namespace: %v", err)
	}
	return ok("interfaces", "bridge and veth work")
}

func tryInterfaces() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("making a network namespace: %w", err)
	}
	attrs := func(name string) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name = name
		return a
	}
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs("check0")}); err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs("check1"), PeerName: "check2"}); err != nil {
		return fmt.Errorf("veth: %w", err)
	}
	return nil
}

func checkPort(ctx context.Context, flag string, port int) Finding {
	check := "port " + fmt.Sprint(port)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return fail(check, fmt.Sprintf("find its user by 'ss -ltnp sport = :%d' and stop it, or set --%s", port, flag), "in use: %v", err)
	}
	l.Close()
	return ok(check, "free for --%s", flag)
}

// checkRange finds routes of the machine that an address range would take traffic from.
func checkRange(flag string, r netip.Prefix, own []string) Finding {
	check := "range " + r.String()
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return warn(check, "", "listing routes: %v", err)
	}
	for _, route := range routes {
		if route.Dst == nil || route.Type != unix.RTN_UNICAST {
			continue
		}
		addr, valid := netip.AddrFromSlice(route.Dst.IP.To4())
		ones, _ := route.Dst.Mask.Size()
		if !valid || ones == 0 || !netip.PrefixFrom(addr, ones).Overlaps(r) {
			continue
		}
		name := fmt.Sprintf("#%d", route.LinkIndex)
		if link, err := netlink.LinkByIndex(route.LinkIndex); err == nil {
			name = link.Attrs().Name
		}
		if slices.ContainsFunc(own, func(o string) bool {
			prefix, pattern := strings.CutSuffix(o, "*")
			return name == o || pattern && strings.HasPrefix(name, prefix)
		}) {
			continue
		}
		return fail(check, fmt.Sprintf("set --%s to a range that is not in use, such as 10.%d.0.0/16", flag, freeTen(routes)),
			"overlaps the route to %s by interface %s", route.Dst, name)
	}
	return ok(check, "free for --%s", flag)
}

// freeTen finds n so that no route but the default one leads into 10.n.0.0/16.
func freeTen(routes []netlink.Route) int {
	for n := 200; n < 256; n++ {
		candidate := net.IPNet{IP: net.IPv4(10, byte(n), 0, 0).To4(), Mask: net.CIDRMask(16, 32)}
		if !slices.ContainsFunc(routes, func(r netlink.Route) bool {
			if r.Dst == nil || r.Dst.IP.IsUnspecified() {
				return false
			}
			return candidate.Contains(r.Dst.IP) || r.Dst.Contains(candidate.IP)
		}) {
			return n
		}
	}
	return 200
}
