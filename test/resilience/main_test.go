package resilience

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"coracle.dev/coracle/apiserver"
)

// asServer, set in the environment, makes the test binary an API server with the flags that follow.
const asServer = "CORACLE_TEST_RESILIENCE"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serve() error {
	o := apiserver.NewOptions()
	fs := pflag.NewFlagSet("apiserver", pflag.ContinueOnError)
	o.AddFlags(fs)
	if err := fs.Parse(os.Args[1:]); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config, err := o.Config(ctx)
	if err != nil {
		return err
	}
	server, err := config.Complete().New(ctx)
	if err != nil {
		return err
	}
	go func() {
		<-server.Ready()
		fmt.Println("ready")
	}()
	return server.Run(ctx)
}

// process is an API server in a process of its own, on a port that stays when it is started again.
type process struct {
	dir, address string
	flags        []string
	cmd          *exec.Cmd
	log          logTail
}

const token = "secret"

// newProcess prepares a server; start runs it.
func newProcess(t *testing.T, flags ...string) *process {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := &process{dir: t.TempDir(), address: l.Addr().String()}
	tokens := filepath.Join(p.dir, "tokens.csv")
	if err := os.WriteFile(tokens, []byte(token+",admin,,system:masters\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(p.address)
	p.flags = append([]string{"--bind-address=127.0.0.1", "--secure-port=" + port, "--advertise-address=192.0.2.1", "--authorization-mode=AlwaysAllow",
		"--disable-admission-plugins=ServiceAccount", "--token-auth-file=" + tokens, "--etcd-data-dir=" + filepath.Join(p.dir, "etcd")}, flags...)
	t.Cleanup(func() {
		if p.cmd != nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

// start runs the server and returns when it is ready.
func (p *process) start() error {
	ready, err := p.begin()
	if err != nil {
		return err
	}
	return <-ready
}

// begin runs the server, and tells when it is ready or has ended before.
func (p *process) begin() (ready <-chan error, err error) {
	p.cmd = exec.Command(os.Args[0], p.flags...)
	p.cmd.Env = append(os.Environ(), asServer+"=1")
	p.cmd.Stderr = &p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	said := make(chan error, 1)
	go func() {
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || strings.TrimSpace(line) != "ready" {
			err = fmt.Errorf("the server says %q, %v; its log ends:\n%s", line, err, p.log.String())
		}
		said <- err
		_, _ = io.Copy(io.Discard, out)
	}()
	return said, nil
}

// kill ends the server without a warning.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed
	p.cmd = nil
	return err
}

func (p *process) config() *rest.Config {
	return &rest.Config{Host: "https://" + p.address, BearerToken: token, QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
}

// resident is the memory of the server in MiB.
func (p *process) resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// serverFor runs a server until the test ends.
func serverFor(t *testing.T, flags ...string) (*process, kubernetes.Interface) {
	t.Helper()
	p := newProcess(t, append([]string{"--etcd-unsafe-no-fsync"}, flags...)...)
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	return p, kubernetes.NewForConfigOrDie(p.config())
}

// logTail keeps the end of what is written to it.
type logTail struct {
	mu  sync.Mutex
	end []byte
}

func (l *logTail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = append(l.end, b...)
	if most := 8 << 10; len(l.end) > most {
		l.end = append([]byte(nil), l.end[len(l.end)-most:]...)
	}
	return len(b), nil
}

func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.end)
}
