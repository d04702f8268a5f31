package runtime

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestKindsOfPods(t *testing.T) {
	n := newNode(t)
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	namespace := func(kind string) string {
		link, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		return link
	}
	idle := []string{"sleep", "1000"}
	for name, test := range map[string]struct {
		pod       func(*runtimev1.LinuxPodSandboxConfig)
		container func(*runtimev1.LinuxContainerSecurityContext)
		command   string
		want      string
	}{
		"host-network": {
			pod: func(c *runtimev1.LinuxPodSandboxConfig) {
				c.SecurityContext.NamespaceOptions.Network = runtimev1.NamespaceMode_NODE
			},
			command: "hostname; busybox readlink /proc/self/ns/net",
			want:    hostname + "\n" + namespace("net"),
		},
		"host-ipc": {
			pod: func(c *runtimev1.LinuxPodSandboxConfig) {
				c.SecurityContext.NamespaceOptions.Ipc = runtimev1.NamespaceMode_NODE
			},
			command: "busybox readlink /proc/self/ns/ipc",
			want:    namespace("ipc"),
		},
		"host-pid": {
			pod: func(c *runtimev1.LinuxPodSandboxConfig) {
				c.SecurityContext.NamespaceOptions.Pid = runtimev1.NamespaceMode_NODE
			},
			command: "busybox readlink /proc/self/ns/pid",
			want:    namespace("pid"),
		},
		"shared-pid": {
			pod: func(c *runtimev1.LinuxPodSandboxConfig) {
				c.SecurityContext.NamespaceOptions.Pid = runtimev1.NamespaceMode_POD
			},
			command: "cat /proc/1/comm; ls /proc/1/root/ 2>/dev/null || echo out of reach",
			want:    "coracle-hold\nout of reach",
		},
		"user-namespace": {
			pod: func(c *runtimev1.LinuxPodSandboxConfig) {
				c.SecurityContext.NamespaceOptions.UsernsOptions = &runtimev1.UserNamespace{
					Mode: runtimev1.NamespaceMode_POD,
					Uids: []*runtimev1.IDMapping{{HostId: 655360, ContainerId: 0, Length: 65536}},
					Gids: []*runtimev1.IDMapping{{HostId: 655360, ContainerId: 0, Length: 65536}},
				}
			},
			command: "cat /proc/self/uid_map | { read a b c; echo $a $b $c; }; id -u",
			want:    "0 655360 65536\n0",
		},
		"sysctl": {
			pod: func(c *runtimev1.LinuxPodSandboxConfig) {
				c.Sysctls = map[string]string{"kernel.shm_rmid_forced": "1", "net.ipv4.ip_unprivileged_port_start": "80"}
			},
			command: "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start",
			want:    "1\n80",
		},
		"privileged": {
			pod:       func(c *runtimev1.LinuxPodSandboxConfig) { c.SecurityContext.Privileged = true },
			container: func(s *runtimev1.LinuxContainerSecurityContext) { s.Privileged = true; s.Seccomp = nil },
			command:   "busybox mount -t tmpfs none /tmp && grep CapEff /proc/self/status | { read a b; echo $b; }; grep Seccomp: /proc/self/status | { read a b; echo $b; }",
			want:      capabilities(t, "CapBnd") + "\n0",
		},
		"all capabilities and one we may lack": {
			container: func(s *runtimev1.LinuxContainerSecurityContext) {
				s.Capabilities = &runtimev1.Capability{AddCapabilities: []string{"ALL", "SYS_RESOURCE"}}
			},
			command: "grep CapEff /proc/self/status | { read a b; echo $b; }",
			want:    capabilities(t, "CapBnd"),
		},
		"user": {
			container: func(s *runtimev1.LinuxContainerSecurityContext) {
				s.RunAsUser, s.RunAsGroup = &runtimev1.Int64Value{Value: 1000}, &runtimev1.Int64Value{Value: 2000}
				s.SupplementalGroups = []int64{3000}
				s.NoNewPrivs, s.ReadonlyRootfs = true, true
			},
			command: "id -u; id -g; id -G; grep NoNewPrivs /proc/self/status | { read a b; echo $b; }; touch /tmp/x 2>/dev/null || echo read-only",
			want:    "1000\n2000\n2000 3000\n1\nread-only",
		},
		"seccomp": {
			command: "grep Seccomp: /proc/self/status | { read a b; echo $b; }; busybox unshare -m true 2>/dev/null || echo refused",
			want:    "2\nrefused",
		},
	} {
		t.Run(name, func(t *testing.T) {
			n.t = t
			config := n.sandboxConfig("kind")
			c := containerConfig("main", idle...)
			if test.pod != nil {
				test.pod(config.Linux)
			}
			o := config.Linux.SecurityContext.NamespaceOptions
			c.Linux.SecurityContext.NamespaceOptions = o
			if test.container != nil {
				test.container(c.Linux.SecurityContext)
			}
			p := n.runPod(config)
			defer n.checkClean()
			defer p.remove()
			if got := n.exec(p.start(c), "sh", "-c", test.command); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

// capabilities reads a set of ours, as the kernel writes it.
func capabilities(t *testing.T, set string) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, set+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no %s", set)
	return ""
}

// A pod's shim stays when the pod has no container for a while.
func TestContainersOneAfterAnother(t *testing.T) {
	n := newNode(t)
	p := n.runPod(n.sandboxConfig("sequence"))
	for i := range 3 {
		c := containerConfig("step", "sh", "-c", "echo step "+strconv.Itoa(i)+"; exit "+strconv.Itoa(i))
		c.Metadata.Attempt = uint32(i)
		c.LogPath = fmt.Sprintf("%d.log", i)
		id := p.start(c)
		if got := n.awaitExit(id); got.ExitCode != int32(i) {
			t.Errorf("exit code of step %d is %d", i, got.ExitCode)
		}
		if got, want := p.log(strconv.Itoa(i)), fmt.Sprintf("step %d\n", i); got != want {
			t.Errorf("log of step %d is %q", i, got)
		}
		if _, err := n.CRI().RemoveContainer(t.Context(), &runtimev1.RemoveContainerRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
	}
	p.remove()
	n.checkClean()
}

func TestMemoryLimit(t *testing.T) {
	n := newNode(t)
	p := n.runPod(n.sandboxConfig("limited"))
	c := containerConfig("main", "sh", "-c", "busybox tail /dev/zero")
	c.Linux.Resources = &runtimev1.LinuxContainerResources{MemoryLimitInBytes: 16 << 20, CpuShares: 100, CpuPeriod: 100000, CpuQuota: 50000}
	if got := n.awaitExit(p.start(c)); got.ExitCode != 137 || got.Reason != "OOMKilled" {
		t.Errorf("exit code is %d, reason %s", got.ExitCode, got.Reason)
	}
	p.remove()
	n.checkClean()
}

// Errors name what is wrong, and leave nothing behind.
func TestFailures(t *testing.T) {
	n := newNode(t)
	t.Run("sysctl", func(t *testing.T) {
		n.t = t
		config := n.sandboxConfig("wrong")
		config.Linux.Sysctls = map[string]string{"net.no.such": "1"}
		_, err := n.CRI().RunPodSandbox(t.Context(), &runtimev1.RunPodSandboxRequest{Config: config})
		if err == nil || !strings.Contains(err.Error(), "opening sysctl /proc/sys/net/no/such: No such file or directory") {
			t.Errorf("the error is %v", err)
		}
		n.checkClean()
	})
	t.Run("handler", func(t *testing.T) {
		n.t = t
		config := n.sandboxConfig("wrong")
		config.Linux.SecurityContext.NamespaceOptions.Pid = runtimev1.NamespaceMode_POD
		_, err := n.CRI().RunPodSandbox(t.Context(), &runtimev1.RunPodSandboxRequest{Config: config})
		if err == nil || !strings.Contains(err.Error(), "shared process namespace") {
			t.Errorf("the error is %v", err)
		}
		n.checkClean()
	})
	t.Run("processes", func(t *testing.T) {
		n.t = t
		p := n.runPod(n.sandboxConfig("wrong"))
		c := containerConfig("main", "sleep", "1000")
		c.Linux.SecurityContext.NamespaceOptions.Pid = runtimev1.NamespaceMode_POD
		_, err := p.tryStart(c)
		if err == nil || !strings.Contains(err.Error(), "but the pod does not") {
			t.Errorf("the error is %v", err)
		}
		p.remove()
		n.checkClean()
	})
	t.Run("command", func(t *testing.T) {
		n.t = t
		p := n.runPod(n.sandboxConfig("wrong"))
		_, err := p.tryStart(containerConfig("main", "/no/such/program"))
		if err == nil || !strings.Contains(err.Error(), "/no/such/program") {
			t.Errorf("the error is %v", err)
		}
		p.remove()
		n.checkClean()
	})
}
