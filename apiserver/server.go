package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/user"
	genericrest "k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/apiserver/extension"
	"coracle.dev/coracle/apiserver/storage"
)

// Server is an API server that is ready to Run once.
type Server struct {
	config    CompletedConfig
	backend   *storage.Backend
	listen    net.Listener
	handler   http.Handler
	builtin   http.Handler
	operation *operation
	run       func(context.Context) error
	ready     chan struct{}
	drained   chan<- struct{} // closed when the last request has been answered

	stores    []genericrest.StorageWithReadiness
	informers []informerFactory
}

// informerFactory is what the factories of all client libraries have.
type informerFactory interface {
	Start(stop <-chan struct{})
	WaitForCacheSyncWithContext(ctx context.Context) cache.SyncResult
}

// New opens the storage and the port, and wires the server. On error nothing stays open.
func (c CompletedConfig) New(ctx context.Context) (_ *Server, err error) {
	var undo []func()
	defer func() {
		if err != nil {
			for _, f := range undo {
				defer f()
			}
		}
	}()
	address := net.JoinHostPort(c.options.BindAddress.String(), strconv.Itoa(c.options.SecurePort))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w: choose another --secure-port or --bind-address", address, err)
	}
	undo = append(undo, func() { listener.Close() })
	backend, err := storage.Open(ctx, c.storageOptions())
	if err != nil {
		return nil, err
	}
	undo = append(undo, backend.Close)

	chain, err := c.newChain(backend, listener)
	if err != nil {
		return nil, err
	}
	undo = append(undo, func() { close(chain.drained) })
	if err := chain.admit(); err != nil {
		return nil, err
	}
	extensions, err := chain.extensions()
	if err != nil {
		return nil, err
	}
	builtin, storages, err := chain.builtin(extension.AwaitCaches(extensions.GenericAPIServer))
	if err != nil {
		return nil, err
	}
	aggregator, err := chain.aggregator(builtin, extensions)
	if err != nil {
		return nil, err
	}
	if err := chain.addHooks(aggregator.GenericAPIServer, storages); err != nil {
		return nil, err
	}
	prepared, err := aggregator.PrepareRun()
	if err != nil {
		return nil, fmt.Errorf("preparing to run: %w", err)
	}
	aggregator.GenericAPIServer.ShutdownTimeout = 5 * time.Second // for connections that do not end by themselves
	return &Server{
		config: c, backend: backend, listen: listener,
		handler: aggregator.GenericAPIServer.Handler, builtin: builtin.UnprotectedHandler(), run: prepared.Run,
		operation: chain.operation, drained: chain.drained,
		ready:     make(chan struct{}),
		stores:    readiness(storages),
		informers: []informerFactory{c.Informers, extensions.Informers, aggregator.APIRegistrationInformers},
	}, nil
}

func (c CompletedConfig) storageOptions() storage.Options {
	o := &c.options.Etcd
	return storage.Options{
		Encryption: storage.EncryptionOptions{
			ConfigFile: c.options.Operation.EncryptionConfigFile, Reload: c.options.Operation.EncryptionReload,
			ServerID: c.serverID(),
		},
		DataDir: o.DataDir, UnsafeNoFsync: o.UnsafeNoFsync, QuotaBytes: o.QuotaBytes,
		Servers: o.Servers, CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile,
		Prefix: o.Prefix, CompactionInterval: o.CompactionInterval, NoWatchCache: !o.WatchCache,
	}
}

// serverID is the same whenever this server starts on this host.
func (c CompletedConfig) serverID() string { return genericapiserver.NewConfig(c.Codecs).APIServerID }

// Run serves until ctx ends. Then it stops taking requests, lets those in flight end, and closes the
// storage last.
func (s *Server) Run(ctx context.Context) error {
	defer s.backend.Close()
	s.config.Transport.Set(s.handler)
	close(s.config.up)
	s.warm(ctx)
	watched, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.awaitReady(watched) })
	err := s.run(ctx)
	s.config.Transport.Stop()
	close(s.drained)
	stop()
	wg.Wait()
	s.operation.close(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("serving the API: %w", err)
	}
	return nil
}

// warm fills the informers before the hooks start, most of which look whether they are full at once
// and then only every 100 ms. It is not needed: what it cannot do in time, the hooks wait for.
func (s *Server) warm(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := awaitStores(limited, s.stores); err != nil {
		return
	}
	for _, f := range s.informers {
		f.Start(ctx.Done())
	}
	for _, f := range s.informers {
		f.WaitForCacheSyncWithContext(limited)
	}
}

// Ready is closed when /readyz is ok for the first time.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// ClientConfig returns a configuration for clients in this process that act as u. They work as soon
// as Run is called, and answer errors before. They cannot exec, attach or forward ports.
func (s *Server) ClientConfig(u user.Info) *rest.Config { return s.config.Transport.ClientConfig(u) }

// Builtin serves the built-in resources alone, without authentication. For generators and tests.
func (s *Server) Builtin() http.Handler { return s.builtin }

// Addr is the host and port on which TLS is served.
func (s *Server) Addr() string { return s.listen.Addr().String() }

// ServingCertificate is the certificate that TLS clients are shown, in PEM. Without --tls-cert-file it
// is self-signed, and the only authority that clients can verify it by.
func (s *Server) ServingCertificate() []byte {
	cert, _ := s.config.ServingCert.CurrentCertKeyContent()
	return cert
}

func (s *Server) awaitReady(ctx context.Context) {
	client, err := rest.HTTPClientFor(s.config.Loopback)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Making the client that watches readiness")
		return
	}
	started := time.Now()
	err = wait.PollUntilContextCancel(ctx, 5*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.config.Loopback.Host+"/readyz", nil)
		if err != nil {
			return false, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return false, nil // not yet, or ending
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK, nil
	})
	if err == nil {
		klog.FromContext(ctx).Info("API server is ready", "address", s.Addr(), "after", time.Since(started))
		close(s.ready)
	}
}
