package network

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
	"sigs.k8s.io/knftables"
)

// Config says what the node's pod network is. All fields but MTU are required.
type Config struct {
	// ClusterName tells the clusters of one machine apart; the nftables table and
	// the names of the links derive from it.
	ClusterName string
	// Interface is the name of the device that holds the gateway address, of at
	// most 15 bytes.
	Interface string
	// PodCIDR is this node's range. Its first address is the gateway, its last
	// one is not used.
	PodCIDR netip.Prefix
	// ClusterCIDR is the range of all pods of the cluster, ServiceCIDR that of
	// Services. Pods are not masqueraded towards either.
	ClusterCIDR, ServiceCIDR netip.Prefix
	// LoadBalancerCIDR is that of load balancers' addresses, which are treated
	// as Services' are; there need be none.
	LoadBalancerCIDR netip.Prefix
	// StateDir keeps the allocations over a restart. It is made if missing.
	StateDir string
	// MTU of the pods' links. Zero means that of the host's default route, or
	// 1500 if there is none.
	MTU int
}

func (c Config) validate() error {
	switch {
	case c.ClusterName == "":
		return errors.New("network: ClusterName is empty")
	case c.Interface == "" || len(c.Interface) > 15:
		return fmt.Errorf("network: interface name %q must have 1 to 15 bytes", c.Interface)
	case c.StateDir == "":
		return errors.New("network: StateDir is empty")
	}
	for _, p := range []struct {
		name   string
		prefix netip.Prefix
	}{{"PodCIDR", c.PodCIDR}, {"ClusterCIDR", c.ClusterCIDR}, {"ServiceCIDR", c.ServiceCIDR}} {
		if !p.prefix.IsValid() || !p.prefix.Addr().Is4() || p.prefix.Masked() != p.prefix {
			return fmt.Errorf("network: %s %v is not an IPv4 range", p.name, p.prefix)
		}
	}
	if p := c.LoadBalancerCIDR; p.IsValid() && (!p.Addr().Is4() || p.Masked() != p) {
		return fmt.Errorf("network: LoadBalancerCIDR %v is not an IPv4 range", p)
	}
	if c.PodCIDR.Bits() > 29 {
		return fmt.Errorf("network: PodCIDR %v has no room for pods, at most /29 is possible", c.PodCIDR)
	}
	return nil
}

// services lists the ranges of addresses that the Service proxy rewrites.
func (c Config) services() []netip.Prefix {
	if !c.LoadBalancerCIDR.IsValid() {
		return []netip.Prefix{c.ServiceCIDR}
	}
	return []netip.Prefix{c.ServiceCIDR, c.LoadBalancerCIDR}
}

// gateway is the address of the node inside the pod range.
func (c Config) gateway() netip.Addr { return c.PodCIDR.Addr().Next() }

// LinkPrefix starts the names of a cluster's host-side links. Seven bytes leave
// eight for the address in hexadecimal digits.
func LinkPrefix(clusterName string) string {
	h := fnv.New32a()
	h.Write([]byte(clusterName))
	return fmt.Sprintf("cv%05x", h.Sum32()&0xfffff)
}

func (c Config) linkPrefix() string { return LinkPrefix(c.ClusterName) }

func (c Config) linkName(a netip.Addr) string {
	return fmt.Sprintf("%s%x", c.linkPrefix(), a.AsSlice())
}

// Network is the running pod network of a node. It is safe for concurrent use.
type Network struct {
	config Config
	host   *netlink.Handle
	pool   *pool
	nat    *nat
	now    func() time.Time

	// attachments serialises calls for one sandbox; a stripe may serve several.
	attachments [64]sync.Mutex
}

// New brings the host's part of the network into being, or takes up what an
// earlier process left: allocations whose link still exists keep their address,
// the rest are freed. It may be called any number of times.
func New(ctx context.Context, config Config) (*Network, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	if config.MTU == 0 {
		config.MTU = defaultMTU()
	}
	// Aside, since it takes a few starts of nft.
	passed := make(chan error, 1)
	go func() { passed <- passForeignChain(ctx, config) }()
	host, err := netlink.NewHandle()
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	pool, err := openPool(ctx, config.StateDir, config.PodCIDR)
	if err != nil {
		return nil, err
	}
	nft, err := knftables.New(knftables.IPv4Family, tableName(config.ClusterName))
	if err != nil {
		return nil, fmt.Errorf("opening nftables: %w", err)
	}
	n := &Network{config: config, host: host, pool: pool, nat: newNAT(nft, config), now: time.Now}
	if err := n.setUpHost(); err != nil {
		return nil, err
	}
	if err := n.adopt(ctx); err != nil {
		return nil, err
	}
	if err := n.nat.reset(ctx, pool.list()); err != nil {
		return nil, err
	}
	if err := <-passed; err != nil {
		return nil, err
	}
	return n, nil
}

// Gateway is the node's address inside the pod range.
func (n *Network) Gateway() netip.Addr { return n.config.gateway() }

// adopt makes allocations and links agree. No ADD is under way yet, so a file
// without a link is left from a crash or a reboot, and so is a link without a file.
func (n *Network) adopt(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	links, err := n.podLinks()
	if err != nil {
		return err
	}
	for _, a := range n.pool.list() {
		name := n.config.linkName(a.Address)
		link, found := links[name]
		delete(links, name)
		if !found {
			logger.Info("Freeing the address of a pod that is gone", "address", a.Address, "pod", a.Pod, "sandbox", a.ContainerID)
			if err := n.pool.release(a.key()); err != nil {
				return err
			}
			continue
		}
		if err := n.setUpHostEnd(link.Attrs().Index, a.Address); err != nil {
			return err
		}
	}
	for name, link := range links {
		logger.Info("Removing a link that belongs to no pod", "link", name)
		if err := n.deleteLink(link); err != nil {
			return err
		}
	}
	return nil
}

// leakAge is how old an allocation must be before its sandbox's absence from
// the runtime's list counts: a sandbox that is being made is not listed yet.
const leakAge = 2 * time.Minute

// Sweep frees the addresses of sandboxes that live does not name, and tells how
// many. A sandbox that is just being made is left alone. It also deletes links
// that outlived their pod, because something keeps its namespace, and sees to
// it that firewalls which came later let pods through.
func (n *Network) Sweep(ctx context.Context, live func(context.Context) (map[string]bool, error)) (int, error) {
	if err := errors.Join(n.deleteStrays(ctx), passForeignChain(ctx, n.config)); err != nil {
		return 0, err
	}
	before := n.pool.list()
	ids, err := live(ctx)
	if err != nil {
		return 0, fmt.Errorf("listing live sandboxes: %w", err)
	}
	freed, errs := 0, []error{}
	for _, a := range before {
		if ids[a.ContainerID] || n.now().Sub(a.Created) < leakAge {
			continue
		}
		klog.FromContext(ctx).Info("Freeing the address of a sandbox that the runtime does not know",
			"address", a.Address, "pod", a.Pod, "sandbox", a.ContainerID)
		if err := n.detach(ctx, a.key()); err != nil {
			errs = append(errs, err)
			continue
		}
		freed++
	}
	return freed, errors.Join(errs...)
}

// deleteStrays deletes the links of addresses that nobody has. A link is made
// after its address is taken, so one that is listed before is not new. By its
// index, since another may have taken its name.
func (n *Network) deleteStrays(ctx context.Context) error {
	links, err := n.podLinks()
	if err != nil {
		return err
	}
	for _, a := range n.pool.list() {
		delete(links, n.config.linkName(a.Address))
	}
	var errs []error
	for name, link := range links {
		klog.FromContext(ctx).V(2).Info("Removing a link that belongs to no pod", "link", name)
		if err := n.host.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("deleting link %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// lock serialises work on one sandbox and returns the unlocking function.
func (n *Network) lock(containerID string) func() {
	h := fnv.New32a()
	h.Write([]byte(containerID))
	m := &n.attachments[h.Sum32()%uint32(len(n.attachments))]
	m.Lock()
	return m.Unlock
}

// Teardown removes everything that New and the pods left on the host, whether
// or not a Network is open: rules, links, routes and the state directory. It
// needs ClusterName, Interface, StateDir and the ranges of the Config. What is
// already gone is no error.
func Teardown(ctx context.Context, config Config) error {
	var errs []error
	errs = append(errs, deleteTable(ctx, tableName(config.ClusterName)), leaveForeignChain(ctx, config.ClusterName))
	host, err := netlink.NewHandle()
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("opening netlink: %w", err))...)
	}
	defer host.Close()
	n := &Network{config: config, host: host}
	errs = append(errs, n.tearDownHost())
	if config.StateDir != "" {
		errs = append(errs, os.RemoveAll(config.StateDir))
	}
	return errors.Join(errs...)
}
