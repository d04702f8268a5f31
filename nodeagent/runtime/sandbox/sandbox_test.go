package sandbox

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestSysctls(t *testing.T) {
	both := Config{UnprivilegedPorts: true, UnprivilegedICMP: true}
	for name, test := range map[string]struct {
		config  Config
		linux   *runtimev1.LinuxPodSandboxConfig
		network runtimev1.NamespaceMode
		want    []string
	}{
		"defaults": {config: both, want: []string{"net/ipv4/ip_unprivileged_port_start=0", "net/ipv4/ping_group_range=0 2147483647"}},
		"the pod's own go first": {
			config: both, linux: &runtimev1.LinuxPodSandboxConfig{Sysctls: map[string]string{"net.ipv4.ip_unprivileged_port_start": "80", "net.ipv4.ping_group_range": "1 0"}},
			want: []string{"net/ipv4/ip_unprivileged_port_start=80", "net/ipv4/ping_group_range=1 0"},
		},
		"host network": {config: both, network: runtimev1.NamespaceMode_NODE},
		"both ways to write names": {
			linux: &runtimev1.LinuxPodSandboxConfig{Sysctls: map[string]string{"net/ipv4/conf/eth0.1/forwarding": "1", "net.ipv4.conf.eth0/2.forwarding": "1"}},
			want:  []string{"net/ipv4/conf/eth0.1/forwarding=1", "net/ipv4/conf/eth0.2/forwarding=1"},
		},
	} {
		linux := test.linux
		if linux == nil {
			linux = &runtimev1.LinuxPodSandboxConfig{}
		}
		linux.SecurityContext = &runtimev1.LinuxSandboxSecurityContext{NamespaceOptions: &runtimev1.NamespaceOption{Network: test.network}}
		c := Controller{config: test.config}
		got := c.sysctls(&request{config: &runtimev1.PodSandboxConfig{Linux: linux}})
		slices.Sort(got)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestResolvConf(t *testing.T) {
	for want, dns := range map[string]*runtimev1.DNSConfig{
		"": {},
		"search a b\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions ndots:5 edns0\n": {
			Servers: []string{"192.0.2.1", "192.0.2.2"}, Searches: []string{"a", "b"}, Options: []string{"ndots:5", "edns0"},
		},
	} {
		got, err := resolvConf(dns)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("resolv.conf (-want +got):\n%s", diff)
		}
	}
}
