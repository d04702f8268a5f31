package runtime

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// pod is a sandbox that a test has made.
type pod struct {
	*node
	id     string
	config *runtimev1.PodSandboxConfig
}

func (n *node) sandboxConfig(name string) *runtimev1.PodSandboxConfig {
	return &runtimev1.PodSandboxConfig{
		Metadata:     &runtimev1.PodSandboxMetadata{Name: name, Namespace: "default", Uid: name + "-uid"},
		Hostname:     name,
		LogDirectory: filepath.Join(filepath.Dir(n.config.RootDir), "log", name),
		DnsConfig:    &runtimev1.DNSConfig{Servers: []string{"192.0.2.53"}, Searches: []string{"a.test", "b.test"}, Options: []string{"ndots:5"}},
		Linux: &runtimev1.LinuxPodSandboxConfig{
			CgroupParent: n.cgroup + "/" + name,
			SecurityContext: &runtimev1.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimev1.NamespaceOption{Pid: runtimev1.NamespaceMode_CONTAINER},
			},
		},
	}
}

func (n *node) runPod(config *runtimev1.PodSandboxConfig) *pod {
	n.t.Helper()
	if err := os.MkdirAll(config.LogDirectory, 0o755); err != nil {
		n.t.Fatal(err)
	}
	r, err := n.CRI().RunPodSandbox(n.t.Context(), &runtimev1.RunPodSandboxRequest{
		Config: config, RuntimeHandler: HandlerFor(config.Linux.SecurityContext.NamespaceOptions),
	})
	if err != nil {
		n.t.Fatalf("running pod %s: %v", config.Metadata.Name, err)
	}
	return &pod{node: n, id: r.PodSandboxId, config: config}
}

func containerConfig(name string, command ...string) *runtimev1.ContainerConfig {
	return &runtimev1.ContainerConfig{
		Metadata: &runtimev1.ContainerMetadata{Name: name},
		Image:    &runtimev1.ImageSpec{Image: "busybox:test"},
		Command:  command,
		LogPath:  name + ".log",
		Linux: &runtimev1.LinuxContainerConfig{SecurityContext: &runtimev1.LinuxContainerSecurityContext{
			NamespaceOptions: &runtimev1.NamespaceOption{Pid: runtimev1.NamespaceMode_CONTAINER},
			Seccomp:          &runtimev1.SecurityProfile{ProfileType: runtimev1.SecurityProfile_RuntimeDefault},
		}},
	}
}

func (p *pod) start(config *runtimev1.ContainerConfig) string {
	p.t.Helper()
	id, err := p.tryStart(config)
	if err != nil {
		p.t.Fatalf("starting container %s: %v", config.Metadata.Name, err)
	}
	return id
}

func (p *pod) tryStart(config *runtimev1.ContainerConfig) (string, error) {
	created, err := p.CRI().CreateContainer(p.t.Context(), &runtimev1.CreateContainerRequest{
		PodSandboxId: p.id, Config: config, SandboxConfig: p.config,
	})
	if err != nil {
		return "", err
	}
	_, err = p.CRI().StartContainer(p.t.Context(), &runtimev1.StartContainerRequest{ContainerId: created.ContainerId})
	return created.ContainerId, err
}

func (n *node) exec(container string, command ...string) string {
	n.t.Helper()
	r, err := n.CRI().ExecSync(n.t.Context(), &runtimev1.ExecSyncRequest{ContainerId: container, Cmd: command, Timeout: 10})
	if err != nil {
		n.t.Fatalf("executing %q: %v", command, err)
	}
	if r.ExitCode != 0 {
		n.t.Fatalf("executing %q: exit code %d: %s%s", command, r.ExitCode, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(string(r.Stdout))
}

func (n *node) container(id string) *runtimev1.ContainerStatus {
	n.t.Helper()
	r, err := n.CRI().ContainerStatus(n.t.Context(), &runtimev1.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		n.t.Fatal(err)
	}
	return r.Status
}

func (n *node) awaitExit(id string) *runtimev1.ContainerStatus {
	n.t.Helper()
	var status *runtimev1.ContainerStatus
	eventually(n.t, "the container to exit", func() error {
		if status = n.container(id); status.State != runtimev1.ContainerState_CONTAINER_EXITED {
			return fmt.Errorf("its state is %s", status.State)
		}
		return nil
	})
	return status
}

func (p *pod) log(container string) string {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.config.LogDirectory, container+".log"))
	if err != nil {
		p.t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(data)) {
		// Time, stream, tag, text.
		if fields := strings.SplitN(line, " ", 4); len(fields) == 4 {
			b.WriteString(fields[3])
		}
	}
	return b.String()
}

func (p *pod) state() runtimev1.PodSandboxState {
	p.t.Helper()
	r, err := p.CRI().PodSandboxStatus(p.t.Context(), &runtimev1.PodSandboxStatusRequest{PodSandboxId: p.id})
	if err != nil {
		p.t.Fatal(err)
	}
	return r.Status.State
}

func (p *pod) remove() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := p.CRI().StopPodSandbox(ctx, &runtimev1.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
		p.t.Fatalf("stopping the pod: %v", err)
	}
	if _, err := p.CRI().RemovePodSandbox(ctx, &runtimev1.RemovePodSandboxRequest{PodSandboxId: p.id}); err != nil {
		p.t.Fatalf("removing the pod: %v", err)
	}
}

func TestPod(t *testing.T) {
	n := newNode(t)
	p := n.runPod(n.sandboxConfig("first"))
	if got := p.state(); got != runtimev1.PodSandboxState_SANDBOX_READY {
		t.Errorf("state is %s", got)
	}
	c := p.start(containerConfig("main", "sh", "-c", "echo begun; sleep 1000"))
	for command, want := range map[string]string{
		"hostname":             "first",
		"cat /etc/hostname":    "first",
		"cat /etc/resolv.conf": "search a.test b.test\nnameserver 192.0.2.53\noptions ndots:5",
		"cat /proc/sys/net/ipv4/ip_unprivileged_port_start": "0",
		"cat /proc/sys/net/ipv4/ping_group_range":           "0\t2147483647",
		"grep -c ^ /proc/net/dev":                           "3",
	} {
		if got := n.exec(c, strings.Fields(command)...); got != want {
			t.Errorf("%s: got %q, want %q", command, got, want)
		}
	}
	p.remove()
	n.checkClean()
}
