package apiserver_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// process is an API server in a process of its own.
type process struct {
	cmd    *exec.Cmd
	config *rest.Config
	log    *strings.Builder
}

// startProcess runs the test binary as an API server on dir, with fsync.
func startProcess(t *testing.T, dir string) *process {
	t.Helper()
	tokens := filepath.Join(dir, "tokens.csv")
	if err := os.WriteFile(tokens, []byte("secret,admin,,system:masters\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "--bind-address=127.0.0.1", "--secure-port=0", "--advertise-address=192.0.2.1",
		"--authorization-mode=AlwaysAllow", "--token-auth-file="+tokens, "--etcd-data-dir="+filepath.Join(dir, "etcd"))
	cmd.Env = append(os.Environ(), asServer+"=1")
	log := &strings.Builder{}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("the server said %q, %v:\n%s", line, err, log)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return &process{cmd: cmd, log: log, config: &rest.Config{
		Host: "https://" + address, BearerToken: "secret", QPS: -1, Timeout: 10 * time.Second,
		TLSClientConfig: rest.TLSClientConfig{Insecure: true},
	}}
}

func (p *process) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if sig != syscall.SIGKILL && errors.As(err, &exit) {
		t.Errorf("the server ended with %v:\n%s", err, p.log)
	}
}

// TestKillLosesNoAcknowledgedWrite kills the server while eight clients write, three times, and looks
// for everything that was acknowledged.
func TestKillLosesNoAcknowledgedWrite(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	for round := range 3 {
		p := startProcess(t, dir)
		client := kubernetes.NewForConfigOrDie(p.config).CoreV1().ConfigMaps("default")
		var wg sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		for writer := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("r%d-w%d-%d", round, writer, i)
					cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"n": name}}
					if _, err := client.Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
						if apierrors.IsAlreadyExists(err) || apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
							t.Errorf("creating %s: %v", name, err)
						}
						once.Do(func() { close(enough) })
						return
					}
					mu.Lock()
					acknowledged[name] = true
					if len(acknowledged) >= 100*(round+1) {
						once.Do(func() { close(enough) })
					}
					mu.Unlock()
				}
			})
		}
		<-enough
		p.end(t, syscall.SIGKILL)
		wg.Wait()
	}
	p := startProcess(t, dir)
	defer p.end(t, syscall.SIGTERM)
	list, err := kubernetes.NewForConfigOrDie(p.config).CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, cm := range list.Items {
		found[cm.Name] = cm.Data["n"] == cm.Name
	}
	if len(acknowledged) < 300 {
		t.Errorf("only %d writes were acknowledged, want 300 or more", len(acknowledged))
	}
	for name := range acknowledged {
		if !found[name] {
			t.Errorf("%s was acknowledged and is lost", name)
		}
	}
}

// TestSecondServerOnTheSameData ends at once and says why.
func TestSecondServerOnTheSameData(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t, dir)
	defer p.end(t, syscall.SIGTERM)
	cmd := exec.Command(os.Args[0], "--bind-address=127.0.0.1", "--secure-port=0", "--etcd-data-dir="+filepath.Join(dir, "etcd"))
	cmd.Env = append(os.Environ(), asServer+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), fmt.Sprintf("in use by process %d", p.cmd.Process.Pid)) {
		t.Errorf("got %v: %s", err, out)
	}
}
