package storage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/version"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/etcd3/metrics"
	"k8s.io/apiserver/pkg/storage/feature"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// embedded is an etcd server in this process, reached by function calls.
type embedded struct {
	server    *embed.Etcd
	client    *kubernetes.Client
	compactor compactor
	lock      *os.File
}

type compactor interface {
	etcd3.Compactor
	Stop()
}

// startEmbedded starts the server and waits until it serves.
func startEmbedded(ctx context.Context, o Options, compact time.Duration) (source, error) {
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("making data directory: %w", err)
	}
	lock, err := lockDirectory(o.DataDir)
	if err != nil {
		return nil, err
	}
	server, err := startServer(ctx, o)
	if err != nil {
		lock.Close()
		return nil, err
	}
	client := &kubernetes.Client{Client: v3client.New(server.Server)}
	client.Kubernetes = client
	client.KV = etcd3.NewETCDLatencyTracker(client.KV)
	if err := announceVersion(ctx); err != nil {
		server.Close()
		lock.Close()
		return nil, err
	}
	return &embedded{
		server: server, client: client, lock: lock,
		compactor: etcd3.NewCompactor(client.Client, compact, clock.RealClock{}, nil),
	}, nil
}

func startServer(ctx context.Context, o Options) (server *embed.Etcd, err error) {
	if err := probe(filepath.Join(o.DataDir, "member", "snap", "db")); err != nil {
		return nil, err
	}
	// etcd ends the process on what it thinks is beyond repair; here it becomes an error.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("opening etcd data in %s: %v: restore the directory from a backup, or remove it to start empty", o.DataDir, r)
		}
	}()
	server, err = embed.StartEtcd(serverConfig(ctx, o))
	if err != nil {
		return nil, fmt.Errorf("starting etcd on %s: %w", o.DataDir, err)
	}
	select {
	case <-server.Server.ReadyNotify():
		return server, nil
	case <-server.Server.StopNotify():
		return nil, fmt.Errorf("starting etcd on %s: it stopped by itself", o.DataDir)
	case <-ctx.Done():
		server.Close()
		return nil, ctx.Err()
	}
}

func serverConfig(ctx context.Context, o Options) *embed.Config {
	c := embed.NewConfig()
	c.Name = "coracle"
	c.Dir = o.DataDir
	c.UnsafeNoFsync = o.UnsafeNoFsync
	c.ListenClientUrls, c.ListenPeerUrls = nil, nil
	nowhere := []url.URL{{Scheme: "http", Host: "localhost:2380"}} // required, never dialled
	c.AdvertiseClientUrls, c.AdvertisePeerUrls = nowhere, nowhere
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	// A single member elects itself; default ticks would cost a second of each start. Five ticks are
	// the fewest that an election may take, and each tick costs a little of an idle server.
	c.TickMs, c.ElectionMs = 20, 100
	// Nobody lags behind, so the raft log in memory can be short.
	c.SnapshotCount, c.SnapshotCatchUpEntries = 5000, 100
	c.QuotaBackendBytes = o.QuotaBytes
	if c.QuotaBackendBytes == 0 {
		c.QuotaBackendBytes = DefaultQuotaBytes
	}
	// Whatever fits a request's body fits here; etcd's own limit, half of that, would be met with an
	// internal error that names no limit.
	c.MaxRequestBytes = 10 << 20
	c.WatchProgressNotifyInterval = 5 * time.Second // consistent reads from the watch cache need it
	c.EnableGRPCGateway = false
	logger := zap.New(&logCore{logger: klog.FromContext(ctx).WithName("etcd")}, zap.WithFatalHook(zapcore.WriteThenPanic))
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	return c
}

// lockDirectory keeps a second process out of the directory. The lock ends with the process.
func lockDirectory(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 32)
		n, _ := f.Read(holder)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s is in use by process %s: stop it, or choose another directory", dir, strings.TrimSpace(string(holder[:n])))
		}
		return nil, fmt.Errorf("locking data directory %s: %w", dir, err)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid()) // only read by people
	}
	return f, nil
}

// probe opens the database as etcd will, which would panic in a goroutine of its own if it is broken,
// and wait without end if another etcd has it.
func probe(path string) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: 200 * time.Millisecond})
	switch {
	case errors.Is(err, bbolt.ErrTimeout):
		return fmt.Errorf("etcd data %s is in use by another process: stop it, or choose another data directory", path)
	case err != nil:
		return fmt.Errorf("etcd data %s cannot be read: %w: restore the data directory from a backup, or remove it to start empty", path, err)
	}
	return db.Close()
}

// announceVersion tells the storage layer what the embedded etcd can do; it would ask an endpoint,
// and here is none. Without it, lists by watch and consistent reads from cache are refused.
func announceVersion(ctx context.Context) error {
	checker := feature.DefaultFeatureSupportChecker
	checker.CheckClient(ctx, inProcess{}, storage.RequestWatchProgress)
	err := wait.PollUntilContextTimeout(ctx, time.Millisecond, 5*time.Second, true, func(context.Context) (bool, error) {
		return checker.Supports(storage.RequestWatchProgress), nil
	})
	if err != nil {
		return fmt.Errorf("announcing etcd's version: %w", err)
	}
	return nil
}

// inProcess answers for the embedded etcd.
type inProcess struct{}

func (inProcess) Endpoints() []string { return []string{"in-process"} }
func (inProcess) Status(context.Context, string) (*clientv3.StatusResponse, error) {
	return &clientv3.StatusResponse{Version: version.Version}, nil
}

func (e *embedded) raw(c *storagebackend.ConfigForResource, newFunc, newList func() runtime.Object, prefix string) (storage.Interface, factory.DestroyFunc, error) {
	versioner := storage.APIObjectVersioner{}
	transformer := c.Transformer
	if transformer == nil {
		transformer = identity.NewEncryptCheckTransformer()
	}
	s, err := etcd3.New(e.client, e.compactor, c.Codec, newFunc, newList, c.Prefix, prefix, c.GroupResource,
		transformer, c.LeaseManagerConfig, etcd3.NewDefaultDecoder(c.Codec, versioner), versioner)
	if err != nil {
		return nil, nil, err
	}
	return s, s.Close, nil
}

func (e *embedded) check(ctx context.Context) error {
	_, err := e.client.KV.Get(ctx, "health")
	return err
}

func (e *embedded) monitor() (metrics.Monitor, error) { return e, nil }

// Monitor implements metrics.Monitor.
func (e *embedded) Monitor(context.Context) (metrics.StorageMetrics, error) {
	return metrics.StorageMetrics{Size: e.server.Server.Backend().Size()}, nil
}

// Close implements metrics.Monitor, which does not own the server.
func (e *embedded) Close() error { return nil }

func (e *embedded) close() {
	e.compactor.Stop()
	_ = e.client.Close() // ends watches and leases; nothing is left to lose
	e.server.Close()
	e.lock.Close()
}
