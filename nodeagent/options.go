package nodeagent

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Options describe one node agent. Fields without a stated default are
// required.
type Options struct {
	// ClusterName tells clusters on one machine apart; it is part of the
	// names of interfaces, rules and cgroups.
	ClusterName string
	// NodeName is the name of the Node; default: the host's name.
	NodeName string
	// Hostname of the node; default: the host's name.
	Hostname string
	// RootDir keeps what must survive a reboot, RunDir what need not.
	RootDir, RunDir string
	// NodeIP is the node's address.
	NodeIP netip.Addr
	// PodCIDR is this node's range of pod addresses, ClusterCIDR that of all
	// nodes (default: PodCIDR), ServiceCIDR that of Services.
	PodCIDR, ClusterCIDR, ServiceCIDR netip.Prefix
	// LoadBalancerCIDR is the range of addresses that Services of type
	// LoadBalancer are given, where the cluster has one of its own; optional.
	LoadBalancerCIDR netip.Prefix
	// ClusterDNS are the name servers that pods are given.
	ClusterDNS []netip.Addr
	// ClusterDomain defaults to cluster.local.
	ClusterDomain string
	// ResolvConf is the host's resolver configuration; default
	// /etc/resolv.conf, or systemd-resolved's own where that file only names
	// its stub.
	ResolvConf string
	// BindAddress and Port of the agent's own API; default all addresses and
	// 10250.
	BindAddress netip.Addr
	Port        int
	// TLSCertFile and TLSPrivateKeyFile serve that API, ClientCAFile verifies
	// its callers' certificates.
	TLSCertFile, TLSPrivateKeyFile, ClientCAFile string
	// Bridge names the network device that has the pods' gateway address.
	Bridge string
	// NodePortAddresses limits where node ports answer; default: the node's
	// addresses and loopback.
	NodePortAddresses []netip.Prefix
	// Labels and Taints of the Node.
	Labels map[string]string
	Taints []corev1.Taint
	// MaxPods defaults to 110.
	MaxPods int
	// SeccompDefault confines containers that name no seccomp profile.
	SeccompDefault bool
	// ContainerLogMaxSize in bytes (default 10 MiB) and ContainerLogMaxFiles
	// (default 5) bound a container's logs.
	ContainerLogMaxSize  int64
	ContainerLogMaxFiles int
	// ContainerdLog is the file that containerd writes its log to; default
	// containerd.log in RootDir.
	ContainerdLog string
	// OnReady is called once, when the node is first reported ready; optional.
	OnReady func()
}

const (
	defaultMaxPods     = 110
	defaultPort        = 10250
	defaultDomain      = "cluster.local"
	defaultLogMaxSize  = 10 << 20
	defaultLogMaxFiles = 5
	systemdResolvConf  = "/run/systemd/resolve/resolv.conf"
	hostResolvConf     = "/etc/resolv.conf"
)

// complete fills in defaults and says what is missing.
func (o *Options) complete() error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("finding host name: %w", err)
	}
	host = strings.ToLower(host)
	o.NodeName = orDefault(o.NodeName, host)
	o.Hostname = orDefault(o.Hostname, host)
	o.ClusterDomain = orDefault(o.ClusterDomain, defaultDomain)
	o.ContainerdLog = orDefault(o.ContainerdLog, filepath.Join(o.RootDir, "containerd.log"))
	o.ResolvConf = orDefault(o.ResolvConf, chooseResolvConf())
	o.Port = orDefault(o.Port, defaultPort)
	o.MaxPods = orDefault(o.MaxPods, defaultMaxPods)
	o.ContainerLogMaxSize = orDefault(o.ContainerLogMaxSize, int64(defaultLogMaxSize))
	o.ContainerLogMaxFiles = orDefault(o.ContainerLogMaxFiles, defaultLogMaxFiles)
	if !o.ClusterCIDR.IsValid() {
		o.ClusterCIDR = o.PodCIDR
	}
	if !o.BindAddress.IsValid() {
		o.BindAddress = netip.IPv4Unspecified()
	}
	var all error
	for name, missing := range map[string]bool{
		"ClusterName": o.ClusterName == "", "RootDir": o.RootDir == "", "RunDir": o.RunDir == "", "NodeIP": !o.NodeIP.IsValid(),
	} {
		if missing {
			all = errors.Join(all, fmt.Errorf("node agent: %s is not set", name))
		}
	}
	return all
}

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// chooseResolvConf passes by systemd-resolved's stub, which answers on the
// host's loopback only.
func chooseResolvConf() string {
	data, err := os.ReadFile(hostResolvConf)
	if err == nil && strings.Contains(string(data), "nameserver 127.0.0.53") {
		if _, err := os.Stat(systemdResolvConf); err == nil {
			return systemdResolvConf
		}
	}
	return hostResolvConf
}

func (o *Options) logDir() string     { return filepath.Join(o.RootDir, "logs") }
func (o *Options) cgroupBase() string { return "/coracle/" + o.ClusterName }
