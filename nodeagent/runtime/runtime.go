package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/nodeagent/runtime/daemon"
	"coracle.dev/coracle/nodeagent/runtime/sandbox"
)

const (
	// firstRetry and lastRetry bound the time between two attempts to reach a
	// containerd that starts, and between two starts of one that dies.
	firstRetry = 2 * time.Millisecond
	lastRetry  = 10 * time.Second
	// maximumMessage is the size of a gRPC message, as in the kubelet.
	maximumMessage = 16 << 20
)

// Runtime is a containerd that runs.
type Runtime struct {
	config     Config
	connection *grpc.ClientConn
	version    string

	mu sync.Mutex
	// stopping is set once Stop has been called, after which none is started.
	stopping bool
}

// ContainerdMain is the containerd child's main function; args follow the first
// argument, which is "containerd". It returns the exit code.
func ContainerdMain(args []string) int { return daemon.Main(args) }

// HandlerFor is the runtime handler that a pod with these namespaces needs, empty
// for the default.
func HandlerFor(o *runtimev1.NamespaceOption) string {
	if sandbox.Supported(o) {
		return ""
	}
	return StockHandler
}

// Start finds or starts the containerd of c. ctx bounds the start, and how long
// the runtime is watched and its clients can be used.
func Start(ctx context.Context, c Config) (*Runtime, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("starting the container runtime: %w", err)
	}
	r := &Runtime{config: c}
	p, err := r.ensure(ctx)
	if err != nil {
		return nil, fmt.Errorf("starting the container runtime: %w", err)
	}
	if r.connection, err = dial(c.socket()); err != nil {
		return nil, fmt.Errorf("starting the container runtime: %w", err)
	}
	if err := r.awaitReady(ctx, p); err != nil {
		r.connection.Close()
		return nil, fmt.Errorf("starting the container runtime: %w", err)
	}
	if err := ensurePauseImage(ctx, c); err != nil {
		r.connection.Close()
		return nil, fmt.Errorf("starting the container runtime: %w", err)
	}
	context.AfterFunc(ctx, func() { r.connection.Close() })
	go r.supervise(ctx, p)
	return r, nil
}

// ensure returns a running containerd of our configuration.
func (r *Runtime) ensure(ctx context.Context) (*child, error) {
	c := r.config
	// containerd cleans up after the containers of before a reboot only if the
	// directory of tasks is there.
	tasks := filepath.Join(c.stateDir(), "io.containerd.runtime.v2.task", sandbox.Namespace)
	for _, dir := range []string{c.RootDir, c.RunDir, c.CNIConfDir, c.RegistryConfigDir, c.persistentDir(), tasks} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, fmt.Errorf("making the runtime's directories: %w", err)
		}
	}
	unlock, err := lock(ctx, c.lockFile())
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := unpackHelpers(c.helperDir()); err != nil {
		return nil, err
	}
	configuration, identity, err := configure(c)
	if err != nil {
		return nil, err
	}
	running, err := find(c)
	if err != nil {
		return nil, err
	}
	if running != nil {
		if running.identity == identity {
			return running, nil
		}
		klog.FromContext(ctx).Info("Replacing containerd, since the binary or its configuration changed", "pid", running.PID)
		if err := running.end(ctx); err != nil {
			return nil, err
		}
	}
	if err := replaceFile(c.configFile(), configuration, 0o644); err != nil {
		return nil, fmt.Errorf("writing containerd's configuration: %w", err)
	}
	p, err := spawn(c, identity)
	if err != nil {
		return nil, err
	}
	klog.FromContext(ctx).Info("Started containerd", "pid", p.PID, "log", c.logFile())
	return p, nil
}

func configure(c Config) (configuration []byte, identity string, err error) {
	h, err := inspectHost(c)
	if err != nil {
		return nil, "", err
	}
	if configuration, err = renderConfig(c, h); err != nil {
		return nil, "", err
	}
	identity, err = identify(bytes.Clone(configuration))
	return configuration, identity, err
}

// awaitReady returns once CRI calls are answered.
func (r *Runtime) awaitReady(ctx context.Context, p *child) error {
	wait := firstRetry
	for {
		// Version is answered before the rest is up; a list is not.
		_, err := r.CRI().ListPodSandbox(ctx, &runtimev1.ListPodSandboxRequest{
			Filter: &runtimev1.PodSandboxFilter{Id: "none"},
		})
		if err == nil {
			break
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("waiting for containerd: %w (%w)\n%s", ctx.Err(), err, logTail(r.config))
		case <-p.Done():
			timer.Stop()
			return fmt.Errorf("containerd ended at its start; %s", logTail(r.config))
		case <-timer.C:
		}
		wait = min(wait*3/2, 50*time.Millisecond)
	}
	version, err := r.CRI().Version(ctx, &runtimev1.VersionRequest{})
	if err != nil {
		return fmt.Errorf("asking containerd for its version: %w", err)
	}
	r.version = version.RuntimeName + "://" + version.RuntimeVersion
	return nil
}

// supervise starts containerd again when it dies, until ctx ends.
func (r *Runtime) supervise(ctx context.Context, p *child) {
	logger := klog.FromContext(ctx)
	wait, began := firstRetry, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.Done():
		}
		if r.isStopping() {
			return
		}
		logger.Info("Containerd ended, starting it again; containers are not touched", "pid", p.PID)
		// One that had run for a while is started at once, one that dies at each
		// start is not.
		if time.Since(began) > lastRetry {
			wait = firstRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		wait = min(wait*2, lastRetry)
		next, err := r.ensure(ctx)
		if err != nil {
			if ctx.Err() == nil {
				logger.Error(err, "Starting containerd again")
			}
			continue
		}
		p, began = next, time.Now()
	}
}

func (r *Runtime) isStopping() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopping
}

// CRI is the client of the runtime service. It fails while containerd is away,
// and works again when it is back.
func (r *Runtime) CRI() runtimev1.RuntimeServiceClient {
	return runtimev1.NewRuntimeServiceClient(r.connection)
}

// Images is the client of the image service.
func (r *Runtime) Images() runtimev1.ImageServiceClient {
	return runtimev1.NewImageServiceClient(r.connection)
}

// Socket is the path of containerd's socket, for other clients of it.
func (r *Runtime) Socket() string { return r.config.socket() }

// Version is what a node reports as its container runtime's version.
func (r *Runtime) Version() string { return r.version }

// CNIConfDir is where the network configuration belongs.
func (r *Runtime) CNIConfDir() string { return r.config.CNIConfDir }

// LogFile is where containerd of the configuration writes its log.
func (c Config) LogFile() string { return c.logFile() }

// Socket is where containerd of the configuration listens, running or not.
func (c Config) Socket() string { return c.socket() }

func dial(socket string) (*grpc.ClientConn, error) {
	connection, err := grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maximumMessage), grpc.MaxCallSendMsgSize(maximumMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstRetry, Multiplier: 1.5, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", socket, err)
	}
	return connection, nil
}

// lock takes the lock file, which goes with the process at the latest.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the runtime's lock: %w", err)
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			file.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("locking %s, which another process holds: %w", path, ctx.Err())
		case <-ticker.C:
		}
	}
}
