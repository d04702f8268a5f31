package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd/log"

	"coracle.dev/coracle/nodeagent/runtime/internal/pidfd"
)

// launch makes the sandbox, or nothing.
func (c *Controller) launch(ctx context.Context, r *request) (_ *instance, failure error) {
	s := &instance{id: r.id, created: time.Now(), socket: filepath.Join(c.config.SocketDir, r.id), ended: make(chan struct{})}
	defer func() {
		if failure != nil {
			if err := c.destroy(context.WithoutCancel(ctx), s); err != nil {
				log.G(ctx).WithError(err).WithField("sandbox", r.id).Warn("removing what was made of a sandbox")
			}
		}
	}()
	if err := c.makeDirectories(r.id); err != nil {
		return nil, err
	}
	// Both processes wait for a byte on this pipe before they stay.
	permission, permit, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer permission.Close()
	defer permit.Close()
	if s.shim, err = c.startShim(r, s, permission); err != nil {
		return nil, err
	}
	report, holder, err := c.startHolder(r, permission)
	if err != nil {
		return nil, err
	}
	defer report.Close()
	s.holder = holder
	// The holder sets itself up while we write the files.
	if err := c.writeFiles(r); err != nil {
		return nil, err
	}
	if err := awaitReport(report); err != nil {
		return nil, err
	}
	if err := c.save(s); err != nil {
		return nil, err
	}
	if _, err := permit.Write([]byte("kk")); err != nil {
		return nil, fmt.Errorf("letting the sandbox's processes stay: %w", err)
	}
	go s.follow()
	return s, nil
}

// startShim opens the shim's socket and starts the shim on it. It need not be
// up when we return, since who connects waits in the socket's queue.
func (c *Controller) startShim(r *request, s *instance, permission *os.File) (*pidfd.Process, error) {
	if err := os.Remove(s.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing an old socket: %w", err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.socket, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("making the shim's socket: %w", err)
	}
	listener.SetUnlinkOnClose(false)
	defer listener.Close()
	if err := os.Chmod(s.socket, 0o600); err != nil {
		return nil, fmt.Errorf("making the shim's socket: %w", err)
	}
	file, err := listener.File()
	if err != nil {
		return nil, fmt.Errorf("making the shim's socket: %w", err)
	}
	defer file.Close()
	shim := exec.Command(c.config.Shim, "-namespace", Namespace, "-id", s.id, "-address", c.grpcAddress)
	shim.Dir = filepath.Join(c.state, s.id)
	shim.ExtraFiles = []*os.File{file, permission}
	shim.Stderr = os.Stderr
	shim.Env = append(os.Environ(), "CORACLE_SANDBOX="+s.id, "GOMAXPROCS=2",
		"TTRPC_ADDRESS="+c.ttrpcAddress, "GRPC_ADDRESS="+c.grpcAddress)
	if r.namespaces().GetPid() == runtimev1.NamespaceMode_NODE {
		shim.Env = append(shim.Env, "CORACLE_HOST_PID=yes")
	}
	shim.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return start(shim, "shim")
}

func (c *Controller) startHolder(r *request, permission *os.File) (report *os.File, _ *pidfd.Process, _ error) {
	report, reporter, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer reporter.Close()
	holder := exec.Command(c.config.Holder, r.id, r.hostname())
	holder.Args = append(holder.Args, c.sysctls(r)...)
	holder.Env = []string{}
	holder.Dir = "/"
	holder.ExtraFiles = []*os.File{reporter, permission}
	if r.netns != "" {
		netns, err := os.Open(r.netns)
		if err != nil {
			report.Close()
			return nil, nil, fmt.Errorf("opening the network namespace: %w", err)
		}
		defer netns.Close()
		holder.ExtraFiles = append(holder.ExtraFiles, netns)
	}
	holder.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: r.cloneFlags()}
	p, err := start(holder, "holder")
	if err != nil {
		report.Close()
		return nil, nil, err
	}
	return report, p, nil
}

func start(command *exec.Cmd, what string) (*pidfd.Process, error) {
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting the sandbox's %s: %w", what, err)
	}
	p, err := pidfd.Watch(command.Process.Pid, 0, func() { _ = command.Wait() })
	if errors.Is(err, unix.ESRCH) {
		// It has ended already, and may have said why.
		_ = command.Wait()
		return pidfd.Dead(command.Process.Pid, 0), nil
	}
	if err != nil {
		_ = command.Process.Kill()
		_ = command.Wait()
		return nil, fmt.Errorf("starting the sandbox's %s: %w", what, err)
	}
	return p, nil
}

func awaitReport(report io.Reader) error {
	// The holder writes once, less than what a pipe takes in one piece.
	message := make([]byte, 1024)
	n, err := report.Read(message)
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("setting up the sandbox: the holder ended without a word")
	case err != nil:
		return fmt.Errorf("setting up the sandbox: %w", err)
	case message[0] != 'k':
		return fmt.Errorf("setting up the sandbox: %s", message[1:n])
	}
	return nil
}

func (r *request) hostNetwork() bool {
	return r.namespaces().GetNetwork() == runtimev1.NamespaceMode_NODE
}

func (r *request) namespaces() *runtimev1.NamespaceOption {
	return r.config.GetLinux().GetSecurityContext().GetNamespaceOptions()
}

// cloneFlags are the namespaces that the holder begins. A pod on the host's
// network has the host's name too.
func (r *request) cloneFlags() uintptr {
	var flags uintptr
	if r.namespaces().GetIpc() != runtimev1.NamespaceMode_NODE {
		flags |= unix.CLONE_NEWIPC
	}
	if !r.hostNetwork() {
		flags |= unix.CLONE_NEWUTS
	}
	return flags
}

func (r *request) hostname() string {
	if r.hostNetwork() {
		return ""
	}
	return r.config.GetHostname()
}

// sysctls are settings as the holder takes them: a path below /proc/sys, and the
// value. Which of them are safe was decided before, by who asked for the pod.
func (c *Controller) sysctls(r *request) []string {
	set := map[string]string{}
	if !r.hostNetwork() {
		if c.config.UnprivilegedPorts {
			set["net/ipv4/ip_unprivileged_port_start"] = "0"
		}
		if c.config.UnprivilegedICMP {
			set["net/ipv4/ping_group_range"] = "0 2147483647"
		}
	}
	for name, value := range r.config.GetLinux().GetSysctls() {
		set[sysctlPath(name)] = value
	}
	var settings []string
	for path, value := range set {
		settings = append(settings, path+"="+value)
	}
	return settings
}

// sysctlPath turns a name with dots or slashes into a path. Where slashes come
// first they separate, and dots are part of names, as with sysctl(8).
func sysctlPath(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '/' {
		return name
	}
	return strings.NewReplacer(".", "/", "/", ".").Replace(name)
}
