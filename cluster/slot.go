package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// maxSlots bounds the clusters of one machine: default ranges of more would overlap.
const maxSlots = 16

// Settle returns the named cluster's configuration: the stored one where there is one, else
// overrides completed with defaults and a slot that no other cluster of the machine has, which it
// then stores. An override that contradicts what a cluster was made with is an error.
func Settle(overrides *Config) (*Config, error) {
	setDefault(&overrides.Name, DefaultName)
	if !nameRE.MatchString(overrides.Name) {
		return nil, overrides.Validate()
	}
	unlock, err := lockFile(filepath.Join(DataBase, ".lock"), true)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", DataBase, err)
	}
	defer unlock()
	c, err := Plan(overrides)
	if err != nil {
		return nil, err
	}
	return c, c.save()
}

// Plan returns what Settle would, and stores nothing.
func Plan(overrides *Config) (*Config, error) {
	setDefault(&overrides.Name, DefaultName)
	stored, err := Load(overrides.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh(overrides)
	}
	if err != nil {
		return nil, err
	}
	return merge(stored, overrides)
}

// fresh completes the configuration of a cluster that does not exist yet.
func fresh(overrides *Config) (*Config, error) {
	c := *overrides
	var err error
	if c.Slot, err = freeSlot(c.Name); err != nil {
		return nil, err
	}
	return &c, c.Complete()
}

// merge lets overrides that are set win over stored ones. What containers and objects already depend
// on can't change.
func merge(stored, overrides *Config) (*Config, error) {
	fixed := func(flag string, old, now any, set bool) error {
		if set && old != now {
			return fmt.Errorf("--%s %v: cluster %q was made with %v; give it another --name, or remove it by 'coracle reset'", flag, now, stored.Name, old)
		}
		return nil
	}
	err := errors.Join(
		fixed("cluster-cidr", stored.ClusterCIDR, overrides.ClusterCIDR, overrides.ClusterCIDR.IsValid()),
		fixed("service-cluster-ip-range", stored.ServiceClusterIPRange, overrides.ServiceClusterIPRange, overrides.ServiceClusterIPRange.IsValid()),
		fixed("load-balancer-ip-range", stored.LoadBalancerIPRange, overrides.LoadBalancerIPRange,
			overrides.LoadBalancerIPRange.IsValid() && stored.LoadBalancerIPRange.IsValid()), // older clusters have none
		fixed("hostname-override", stored.NodeName, overrides.NodeName, overrides.NodeName != ""),
		fixed("data-dir", stored.DataDir, overrides.DataDir, overrides.DataDir != ""),
		fixed("cluster-domain", stored.ClusterDomain, overrides.ClusterDomain, overrides.ClusterDomain != ""),
	)
	if err != nil {
		return nil, err
	}
	c := *stored
	override(&c.NodeIP, overrides.NodeIP)
	override(&c.LoadBalancerIPRange, overrides.LoadBalancerIPRange)
	override(&c.BindAddress, overrides.BindAddress)
	override(&c.SecurePort, overrides.SecurePort)
	override(&c.AgentPort, overrides.AgentPort)
	override(&c.ServiceNodePortRange, overrides.ServiceNodePortRange)
	override(&c.ResolvConf, overrides.ResolvConf)
	for _, list := range []struct{ stored, override *[]string }{
		{&c.EtcdServers, &overrides.EtcdServers}, {&c.APIServerArgs, &overrides.APIServerArgs},
		{&c.ControllerArgs, &overrides.ControllerArgs}, {&c.SchedulerArgs, &overrides.SchedulerArgs},
	} {
		if len(*list.override) > 0 {
			*list.stored = *list.override
		}
	}
	return &c, c.Complete()
}

func override[T comparable](field *T, value T) {
	var zero T
	if value != zero {
		*field = value
	}
}

// Names lists the clusters that exist on this machine.
func Names() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(DataBase, "*", "config.yaml"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		names = append(names, filepath.Base(filepath.Dir(f)))
	}
	return names, nil
}

func freeSlot(name string) (int, error) {
	if name == DefaultName {
		return 0, nil
	}
	names, err := Names()
	if err != nil {
		return 0, err
	}
	used := map[int]bool{0: true}
	for _, n := range names {
		c, err := Load(n)
		if err != nil {
			return 0, err
		}
		used[c.Slot] = true
	}
	for i := range maxSlots {
		if !used[i] {
			return i, nil
		}
	}
	return 0, fmt.Errorf("this machine has %d clusters already; remove one by 'coracle reset --name NAME'", maxSlots)
}

// lockFile takes an exclusive lock that ends with the process. wait tells whether to wait for it;
// otherwise a lock that is held is unix.EWOULDBLOCK.
func lockFile(path string, wait bool) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// defaultRouteAddr is the IPv4 address of the interface that the default route leaves by.
func defaultRouteAddr() (netip.Addr, bool) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return netip.Addr{}, false
	}
	for _, r := range routes {
		if r.Dst != nil && !r.Dst.IP.IsUnspecified() {
			continue
		}
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			continue
		}
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
		if err != nil || len(addrs) == 0 {
			continue
		}
		if ip, ok := netip.AddrFromSlice(addrs[0].IP.To4()); ok {
			return ip, true
		}
	}
	return netip.Addr{}, false
}
