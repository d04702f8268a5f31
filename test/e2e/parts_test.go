package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPartsApart runs a server and, as another machine would, an agent against it; then the server's
// three parts as three processes over the same data. The pod of before lives on, and new ones start.
func TestPartsApart(t *testing.T) {
	t.Parallel()
	p := &parts{t: t, server: suite.name + "-server", node: suite.name + "-node"}
	t.Cleanup(p.remove)
	server := p.start("server", "--name", p.server, "--hostname-override", "apart")
	p.awaitAPI()
	settings := p.settings()
	agent := p.start("agent", "--name", p.node, "--kubeconfig", p.path("kubeconfig", "agent.yaml"), "--hostname-override", "apart",
		"--cluster-cidr", settings["clusterCIDR"], "--service-cluster-ip-range", settings["serviceClusterIPRange"])
	p.eventually("wait", "--for=condition=Ready", "node/apart", "--timeout=60s")
	image := exec.CommandContext(t.Context(), suite.coracle, "image", "import", "--name", p.node, filepath.Join(suite.images, "workload.tar"))
	if out, err := image.CombinedOutput(); err != nil {
		t.Fatalf("importing an image: %v: %s", err, out)
	}
	p.pod("before")
	p.stop(server)

	pki := func(name string) string { return p.path("pki", name) }
	p.start("apiserver", "--secure-port", settings["securePort"], "--etcd-data-dir", p.path("etcd"),
		"--service-cluster-ip-range", settings["serviceClusterIPRange"], "--client-ca-file", pki("ca.crt"),
		"--tls-cert-file", pki("apiserver.crt"), "--tls-private-key-file", pki("apiserver.key"),
		"--service-account-signing-key-file", pki("sa.key"), "--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
		"--kubelet-client-certificate", pki("apiserver-kubelet-client.crt"), "--kubelet-client-key", pki("apiserver-kubelet-client.key"),
		"--kubelet-certificate-authority", pki("ca.crt"))
	p.awaitAPI()
	p.start("controllers", "--kubeconfig", p.path("kubeconfig", "controller-manager.yaml"), "--root-ca-file", pki("ca.crt"))
	p.start("scheduler", "--kubeconfig", p.path("kubeconfig", "scheduler.yaml"))
	p.pod("after")
	if got := p.eventually("get", "pod", "before", "-o", "jsonpath={.status.containerStatuses[0].restartCount} {.status.phase}"); got != "0 Running" {
		t.Errorf("the pod of before: %s", got)
	}
	if got := p.eventually("exec", "after", "--", "/bin/workload", "get", "http://localhost:8080/hostname"); got != "after" {
		t.Errorf("asking a pod gives %q", got)
	}
	p.eventually("delete", "pod", "before", "after", "--timeout=60s")
	p.stop(agent)
}

// parts are processes of one cluster, apart from the suite's.
type parts struct {
	t            *testing.T
	server, node string // names of folders
	running      []*exec.Cmd
}

func (p *parts) path(elem ...string) string {
	return filepath.Join(append([]string{"/var/lib/coracle", p.server}, elem...)...)
}

func (p *parts) start(args ...string) *exec.Cmd {
	p.t.Helper()
	log, err := os.Create(filepath.Join(p.t.TempDir(), args[0]+".log"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(suite.coracle, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.running = append(p.running, cmd)
	p.t.Cleanup(func() {
		if p.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			p.t.Logf("--- %s\n%s", args[0], text[max(0, len(text)-4000):])
		}
	})
	return cmd
}

func (p *parts) stop(cmd *exec.Cmd) {
	p.t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Errorf("stopping %s: %v", cmd.Args[1], err)
	}
	if err := cmd.Wait(); err != nil {
		p.t.Errorf("%s ended with %v", cmd.Args[1], err)
	}
}

func (p *parts) remove() {
	for _, cmd := range p.running {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		}
	}
	for _, name := range []string{p.node, p.server} {
		if out, err := exec.Command(suite.coracle, "reset", "--yes", "--name", name).CombinedOutput(); err != nil {
			p.t.Errorf("removing %s: %v: %s", name, err, out)
		}
	}
}

// settings are those that the server has kept.
func (p *parts) settings() map[string]string {
	p.t.Helper()
	data, err := os.ReadFile(p.path("config.yaml"))
	if err != nil {
		p.t.Fatal(err)
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			settings[key] = value
		}
	}
	return settings
}

func (p *parts) kubectl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(suite.project, "bin", "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+p.path("kubeconfig", "admin.yaml"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, stderr.String())
	}
	return strings.TrimSpace(stdout.String()), nil
}

// eventually runs kubectl until it succeeds.
func (p *parts) eventually(args ...string) string {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		out, err := p.kubectl(args...)
		if err == nil {
			return out
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (p *parts) awaitAPI() { p.eventually("get", "--raw", "/readyz") }

func (p *parts) pod(name string) {
	p.t.Helper()
	p.eventually("run", name, "--image=workload", "--image-pull-policy=IfNotPresent", "--", "serve")
	p.eventually("wait", "--for=condition=Ready", "pod/"+name, "--timeout=60s")
}
