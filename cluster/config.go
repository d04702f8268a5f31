package cluster

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// DefaultName is the cluster that commands mean when they are given no name.
const DefaultName = "coracle"

// Base directories of all clusters of a machine; each cluster has a folder of its name in both.
const (
	DataBase = "/var/lib/coracle"
	RunBase  = "/run/coracle"
)

// Config is what makes one cluster differ from another on the same machine. Empty fields are
// filled by Complete.
type Config struct {
	// Name tells clusters of a machine apart: a DNS label of up to 20 characters.
	Name string `json:"name"`
	// DataDir outlives restarts of the machine; RunDir need not.
	DataDir string `json:"dataDir"`
	RunDir  string `json:"runDir"`

	// NodeName is the node's name in the API. Default: the host name in lower case.
	NodeName string `json:"nodeName"`
	// NodeIP is the address at which the node's ports answer. Default: the address of the default
	// route's interface; for a cluster other than DefaultName, the gateway address of its pods.
	NodeIP netip.Addr `json:"nodeIP"`
	// BindAddress is where the API server and the agent listen.
	BindAddress string `json:"bindAddress"`
	SecurePort  int    `json:"securePort"`
	AgentPort   int    `json:"agentPort"`

	// Address ranges. They must not overlap each other or any route of the machine.
	ClusterCIDR           netip.Prefix `json:"clusterCIDR"`
	ServiceClusterIPRange netip.Prefix `json:"serviceClusterIPRange"`
	ServiceNodePortRange  string       `json:"serviceNodePortRange"`
	// LoadBalancerIPRange is where Services of type LoadBalancer get their addresses. They answer
	// on every node; whoever comes from elsewhere needs a route to a node.
	LoadBalancerIPRange netip.Prefix `json:"loadBalancerIPRange"`
	ClusterDomain       string       `json:"clusterDomain"`

	// Bridge is the interface that joins the node's pods.
	Bridge string `json:"bridge"`
	// EtcdServers are an external etcd cluster's URLs. Default: etcd in this process.
	EtcdServers []string `json:"etcdServers,omitempty"`
	// ResolvConf is the file that names the resolvers for outside names.
	ResolvConf string `json:"resolvConf"`
	// APIServerArgs, ControllerArgs and SchedulerArgs are flags of the parts, as NAME=VALUE; they win
	// over what follows from the other fields.
	APIServerArgs  []string `json:"apiserverArgs,omitempty"`
	ControllerArgs []string `json:"controllerArgs,omitempty"`
	SchedulerArgs  []string `json:"schedulerArgs,omitempty"`
	// Slot numbers the clusters of a machine; ports and ranges default by it.
	Slot int `json:"slot"`
}

// AddFlags binds the fields to flags that carry upstream's names where upstream has them.
func (c *Config) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.DataDir, "data-dir", c.DataDir, "Folder for all lasting data (default "+DataBase+"/NAME)")
	fs.StringVar(&c.RunDir, "run-dir", c.RunDir, "Folder for sockets and other data of one boot (default "+RunBase+"/NAME)")
	fs.StringVar(&c.NodeName, "hostname-override", c.NodeName, "The node's name (default: the host name)")
	fs.TextVar(&c.NodeIP, "node-ip", c.NodeIP, "The node's address (default: that of the default route's interface)")
	fs.StringVar(&c.BindAddress, "bind-address", c.BindAddress, "Address on which the API server and the agent listen (default 0.0.0.0)")
	fs.IntVar(&c.SecurePort, "secure-port", c.SecurePort, "Port of the API server (default 6443, for further clusters the next free)")
	fs.IntVar(&c.AgentPort, "agent-port", c.AgentPort, "Port of the node agent (default 10250, for further clusters the next free)")
	fs.TextVar(&c.ClusterCIDR, "cluster-cidr", c.ClusterCIDR, "Address range of pods (default 10.244.0.0/16)")
	fs.TextVar(&c.ServiceClusterIPRange, "service-cluster-ip-range", c.ServiceClusterIPRange, "Address range of Services (default 10.96.0.0/16)")
	fs.StringVar(&c.ServiceNodePortRange, "service-node-port-range", c.ServiceNodePortRange, "Ports for Services of type NodePort (default 30000-32767)")
	fs.TextVar(&c.LoadBalancerIPRange, "load-balancer-ip-range", c.LoadBalancerIPRange, "Address range of Services of type LoadBalancer (default 10.112.0.0/24)")
	fs.StringVar(&c.ClusterDomain, "cluster-domain", c.ClusterDomain, "DNS domain of the cluster (default cluster.local)")
	fs.StringSliceVar(&c.EtcdServers, "etcd-servers", c.EtcdServers, "URLs of an etcd cluster (default: etcd in this process)")
	fs.StringVar(&c.ResolvConf, "resolv-conf", c.ResolvConf, "File that names the resolvers for outside names (default /etc/resolv.conf)")
	fs.StringArrayVar(&c.APIServerArgs, "kube-apiserver-arg", c.APIServerArgs, "Flag of 'coracle apiserver', as NAME=VALUE; may be given several times")
	fs.StringArrayVar(&c.ControllerArgs, "kube-controller-manager-arg", c.ControllerArgs, "Flag of 'coracle controllers', as NAME=VALUE; may be given several times")
	fs.StringArrayVar(&c.SchedulerArgs, "kube-scheduler-arg", c.SchedulerArgs, "Flag of 'coracle scheduler', as NAME=VALUE; may be given several times")
}

// Complete fills empty fields from the machine and from the cluster's slot.
func (c *Config) Complete() error {
	setDefault(&c.Name, DefaultName)
	setDefault(&c.DataDir, filepath.Join(DataBase, c.Name))
	setDefault(&c.RunDir, filepath.Join(RunBase, c.Name))
	setDefault(&c.BindAddress, "0.0.0.0")
	setDefault(&c.SecurePort, 6443+c.Slot)
	setDefault(&c.AgentPort, 10250+10*c.Slot)
	setDefault(&c.ClusterCIDR, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(244 - c.Slot)}), 16))
	setDefault(&c.ServiceClusterIPRange, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(96 + c.Slot)}), 16))
	setDefault(&c.ServiceNodePortRange, "30000-32767")
	setDefault(&c.LoadBalancerIPRange, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(112 + c.Slot)}), 24))
	setDefault(&c.ClusterDomain, "cluster.local")
	setDefault(&c.Bridge, fmt.Sprintf("cor%d", c.Slot))
	setDefault(&c.ResolvConf, "/etc/resolv.conf")
	if c.NodeName == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("finding the host name: %w", err)
		}
		c.NodeName = strings.ToLower(host)
	}
	if !c.NodeIP.IsValid() {
		c.NodeIP = c.Gateway()
		if c.Slot == 0 {
			if ip, ok := defaultRouteAddr(); ok {
				c.NodeIP = ip
			}
		}
	}
	return c.Validate()
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

var nameRE = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,18}[a-z0-9])?$`)

// Validate returns all that is wrong with a complete configuration.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !nameRE.MatchString(c.Name) {
		bad("--name %q: use up to 20 lower-case letters, digits and dashes, starting with a letter", c.Name)
	}
	for _, p := range []struct {
		flag string
		port int
	}{{"secure-port", c.SecurePort}, {"agent-port", c.AgentPort}} {
		if p.port < 1 || p.port > 65535 {
			bad("--%s %d: a port is between 1 and 65535", p.flag, p.port)
		}
	}
	if !c.ClusterCIDR.Addr().Is4() || c.ClusterCIDR.Bits() > 24 {
		bad("--cluster-cidr %s: use an IPv4 range of /24 or larger", c.ClusterCIDR)
	}
	if !c.ServiceClusterIPRange.Addr().Is4() || c.ServiceClusterIPRange.Bits() > 28 {
		bad("--service-cluster-ip-range %s: use an IPv4 range of /28 or larger", c.ServiceClusterIPRange)
	}
	if c.ClusterCIDR.Overlaps(c.ServiceClusterIPRange) {
		bad("--cluster-cidr %s overlaps --service-cluster-ip-range %s", c.ClusterCIDR, c.ServiceClusterIPRange)
	}
	if p := c.LoadBalancerIPRange; !p.Addr().Is4() || p.Bits() > 30 || p.Masked() != p {
		bad("--load-balancer-ip-range %s: use an IPv4 range of /30 or larger", p)
	} else if p.Overlaps(c.ClusterCIDR) || p.Overlaps(c.ServiceClusterIPRange) {
		bad("--load-balancer-ip-range %s overlaps --cluster-cidr or --service-cluster-ip-range", p)
	}
	return errors.Join(errs...)
}

// PodCIDR is the part of ClusterCIDR that belongs to this node.
func (c *Config) PodCIDR() netip.Prefix {
	if c.ClusterCIDR.Bits() >= 24 {
		return c.ClusterCIDR.Masked()
	}
	return netip.PrefixFrom(c.ClusterCIDR.Masked().Addr(), 24)
}

// Gateway is the first address of PodCIDR: the bridge's own, at which DNS answers.
func (c *Config) Gateway() netip.Addr { return c.PodCIDR().Addr().Next() }

// ClusterDNS is the tenth address of the Service range, as kubeadm has it.
func (c *Config) ClusterDNS() netip.Addr { return nth(c.ServiceClusterIPRange, 10) }

// APIServiceIP is the first address of the Service range: the Service "kubernetes".
func (c *Config) APIServiceIP() netip.Addr { return nth(c.ServiceClusterIPRange, 1) }

func nth(p netip.Prefix, n int) netip.Addr {
	a := p.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// Context is the name of the cluster's context in a kubeconfig.
func (c *Config) Context() string {
	if c.Name == DefaultName {
		return DefaultName
	}
	return DefaultName + "-" + c.Name
}

// Path returns a path below the data directory.
func (c *Config) Path(elem ...string) string {
	return filepath.Join(append([]string{c.DataDir}, elem...)...)
}

// Load reads the configuration that the named cluster's first start settled. The error is
// fs.ErrNotExist when there is no such cluster.
func Load(name string) (*Config, error) { return loadFile(configFile(name)) }

// configFile is at the same place whatever DataDir is, so that a name is enough to find it.
func configFile(name string) string { return filepath.Join(configDir(name), "config.yaml") }

func configDir(name string) string { return filepath.Join(DataBase, name) }

func loadFile(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &Config{}
	if err := yaml.UnmarshalStrict(data, c); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return c, nil
}

func (c *Config) save() error {
	data, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	return writeFile(configFile(c.Name), data, 0o644)
}
