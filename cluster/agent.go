package cluster

import (
	"net/netip"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"

	"coracle.dev/coracle/nodeagent"
	"coracle.dev/coracle/nodeagent/runtime"
)

// ContainerdCommand is the argument by which this binary becomes containerd, and Containerd what it
// does then: it returns the exit code. Other arguments are containerd's.
const ContainerdCommand = "containerd"

// Containerd runs containerd.
func Containerd(args []string) int { return runtime.ContainerdMain(args) }

// agentPaths are the options that say what the agent made on this machine.
func agentPaths(c *Config) nodeagent.Options {
	address, _ := netip.ParseAddr(c.BindAddress) // invalid means all addresses
	o := nodeagent.Options{
		ClusterName: c.Name, NodeName: c.NodeName,
		RootDir: c.Path("agent"), RunDir: c.RunDir,
		NodeIP: c.NodeIP, PodCIDR: c.PodCIDR(), ClusterCIDR: c.ClusterCIDR, ServiceCIDR: c.ServiceClusterIPRange, LoadBalancerCIDR: c.LoadBalancerIPRange,
		ClusterDNS: []netip.Addr{c.ClusterDNS()}, ClusterDomain: c.ClusterDomain,
		BindAddress: address, Port: c.AgentPort, Bridge: c.Bridge,
	}
	if c.Slot > 0 {
		// Loopback is shared by the clusters of a machine, and belongs to the first.
		o.NodePortAddresses = []netip.Prefix{netip.PrefixFrom(c.NodeIP, c.NodeIP.BitLen())}
	}
	return o
}

// agentOptions are those of the node that the cluster's own process runs.
func agentOptions(c *Config, p *PKI) nodeagent.Options {
	o := agentPaths(c)
	o.TLSCertFile, o.TLSPrivateKeyFile, o.ClientCAFile = p.File("agent.crt"), p.File("agent.key"), p.File("ca.crt")
	o.ResolvConf = c.ResolvConf
	return o
}

// remoteAgentOptions are those of a node whose API server is elsewhere. Its serving certificate is
// its client certificate, which names the node; callers are verified by the cluster's authority.
func remoteAgentOptions(c *Config, cfg *rest.Config) (nodeagent.Options, error) {
	o := agentPaths(c)
	o.ResolvConf = c.ResolvConf
	dir := c.Path("agent", "pki")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return o, err
	}
	loaded := rest.CopyConfig(cfg)
	if err := rest.LoadTLSFiles(loaded); err != nil {
		return o, err
	}
	for name, data := range map[string][]byte{"agent.crt": loaded.CertData, "agent.key": loaded.KeyData, "ca.crt": loaded.CAData} {
		if err := writeFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return o, err
		}
	}
	o.TLSCertFile, o.TLSPrivateKeyFile, o.ClientCAFile = filepath.Join(dir, "agent.crt"), filepath.Join(dir, "agent.key"), filepath.Join(dir, "ca.crt")
	return o, nil
}
