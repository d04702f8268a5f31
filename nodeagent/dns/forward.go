package dns

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/cache"
	"github.com/coredns/coredns/plugin/forward"
	"github.com/coredns/coredns/plugin/pkg/proxy"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/miekg/dns"
	"k8s.io/klog/v2"
)

// resolvedConf is where systemd-resolved keeps the servers behind its own.
const resolvedConf = "/run/systemd/resolve/resolv.conf"

// followInterval is how soon a changed resolv.conf is noticed.
const followInterval = 10 * time.Second

// forwarder answers what is not of the cluster. It is safe for concurrent use.
type forwarder struct {
	config Config
	loops  loops

	mu sync.RWMutex
	// servers are asked: all that were wanted, save those that lead back here.
	servers []netip.AddrPort
	// chain is the cache with the forward plugin behind it, nil without servers.
	// Both are made anew when the servers change: another network may have other
	// answers.
	chain *cache.Cache
	out   *forward.Forward
}

func newForwarder(c Config) *forwarder {
	f := &forwarder{config: c}
	f.use(f.wanted())
	return f
}

// Name is that of a plugin.
func (f *forwarder) Name() string { return "forwarder" }

// ServeDNS answers one query, or says that without servers there is no such name.
func (f *forwarder) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	f.mu.RLock()
	chain := f.chain
	f.mu.RUnlock()
	if chain == nil {
		refuse(w, r, dns.RcodeNameError)
		return dns.RcodeSuccess, nil
	}
	return chain.ServeDNS(ctx, w, r)
}

func (f *forwarder) upstreams() []netip.AddrPort {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.servers
}

// follow leaves out servers that lead back here, and reads resolv.conf again
// when it changes, until ctx ends.
func (f *forwarder) follow(ctx context.Context) error {
	followed := f.upstreams()
	f.leaveOutLoops(ctx, followed)
	if f.config.Upstreams != nil {
		return nil
	}
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if servers := f.wanted(); !slices.Equal(servers, followed) {
			klog.FromContext(ctx).Info("Following a change of the host's name servers", "upstreams", servers)
			followed = servers
			f.use(servers)
			f.leaveOutLoops(ctx, servers)
		}
	}
}

func (f *forwarder) leaveOutLoops(ctx context.Context, servers []netip.AddrPort) {
	looping := f.loops.probe(ctx, servers)
	if len(looping) == 0 {
		return
	}
	klog.FromContext(ctx).Info("Not asking name servers that ask this one again; name others in the resolver configuration",
		"servers", looping, "resolvConf", f.config.ResolvConf)
	f.use(slices.DeleteFunc(slices.Clone(servers), func(s netip.AddrPort) bool { return slices.Contains(looping, s) }))
}

func (f *forwarder) wanted() []netip.AddrPort {
	if f.config.Upstreams != nil {
		return f.config.Upstreams
	}
	return hostServers(f.config.ResolvConf, resolvedConf, f.config.Listen.Addr())
}

func (f *forwarder) use(servers []netip.AddrPort) {
	var chain *cache.Cache
	var out *forward.Forward
	if len(servers) > 0 {
		out = forward.New()
		for _, s := range servers {
			out.SetProxy(proxy.NewProxy("forward", s.String(), transport.DNS))
		}
		chain = cache.New()
		chain.Next = plugin.Handler(out)
	}
	f.mu.Lock()
	had := f.out
	f.servers, f.chain, f.out = servers, chain, out
	f.mu.Unlock()
	if had != nil {
		_ = had.OnShutdown() // it returns nil always
	}
}

func (f *forwarder) close() { f.use(nil) }

// hostServers reads the name servers that pods may use. If all that conf names
// are on loopback addresses, behind, systemd-resolved's file, is tried.
func hostServers(conf, behind string, own netip.Addr) []netip.AddrPort {
	for _, path := range []string{conf, behind} {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if servers := nameServers(string(data), own); len(servers) > 0 {
			return servers
		}
	}
	return nil
}

// nameServers parses resolv.conf, leaving out loopback addresses and our own.
func nameServers(conf string, own netip.Addr) []netip.AddrPort {
	var servers []netip.AddrPort
	for line := range strings.Lines(conf) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(fields[1])
		if err != nil || a.IsLoopback() || a.IsUnspecified() || a == own {
			continue
		}
		if s := netip.AddrPortFrom(a, 53); !slices.Contains(servers, s) {
			servers = append(servers, s)
		}
	}
	return servers
}
