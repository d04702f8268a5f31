package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-base/metrics/legacyregistry"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/nodeagent/pod"
	"coracle.dev/coracle/nodeagent/serve/guard"
	"coracle.dev/coracle/nodeagent/stats"
)

const (
	shutdownTimeout = 2 * time.Second
	headerTimeout   = 30 * time.Second
)

// Pods knows the pods of the node.
type Pods interface {
	Views() []pod.View
	Find(namespace, name string, uid types.UID) (pod.View, error)
}

// Config is what the API needs.
type Config struct {
	Address                         netip.AddrPort
	CertFile, KeyFile, ClientCAFile string
	NodeName                        string
	Client                          kubernetes.Interface
	CRI                             runtimev1.RuntimeServiceClient
	Pods                            Pods
	Stats                           *stats.Collector
	// LocalVolumes may be nil: then there are none.
	LocalVolumes LocalVolumes
	// LogDir holds the logs of pods.
	LogDir string
	// Healthy tells what is wrong with the agent; nil means nothing.
	Healthy func() error
}

// Run serves until ctx ends.
func Run(ctx context.Context, c Config) error {
	listener, err := net.Listen("tcp", c.Address.String())
	if err != nil {
		return fmt.Errorf("listening for the node's API: %w", err)
	}
	return Serve(ctx, c, listener)
}

// Serve is Run on a listener that is there already, and closes it.
func Serve(ctx context.Context, c Config, listener net.Listener) error {
	entry, err := guard.FromFile(ctx, c.Client, c.ClientCAFile)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	cert := &certificate{certFile: c.CertFile, keyFile: c.KeyFile}
	if _, err := cert.get(nil); err != nil {
		return errors.Join(err, listener.Close())
	}
	server := &http.Server{
		Handler:           entry.Wrap(func(*http.Request) string { return c.NodeName }, c.routes()),
		ReadHeaderTimeout: headerTimeout,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: cert.get,
			// Verified by the authenticator, so that a caller may come with
			// a token instead.
			ClientAuth: tls.RequestClientCert,
		},
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(listener, "", "") }()
	klog.FromContext(ctx).Info("Serving the node's API", "address", listener.Addr().String())
	select {
	case err := <-done:
		return fmt.Errorf("serving the node's API: %w", err)
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(closing); err != nil {
		return server.Close() // streams that are still open
	}
	return nil
}

// certificate is the serving certificate, read again when its file changes.
type certificate struct {
	certFile, keyFile string

	mu     sync.Mutex // guards what follows
	loaded time.Time
	pair   *tls.Certificate
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	info, err := os.Stat(c.certFile)
	if err != nil {
		return nil, fmt.Errorf("reading the node's certificate: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pair != nil && info.ModTime().Equal(c.loaded) {
		return c.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the node's certificate: %w", err)
	}
	c.pair, c.loaded = &pair, info.ModTime()
	return c.pair, nil
}

// routes is the whole API.
func (c Config) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", c.healthz)
	mux.HandleFunc("GET /healthz/{check}", c.healthz)
	mux.HandleFunc("GET /pods", c.pods)
	mux.HandleFunc("GET /pods/{$}", c.pods)
	mux.HandleFunc("GET /runningpods", c.runningPods)
	mux.HandleFunc("GET /runningpods/{$}", c.runningPods)
	mux.HandleFunc("GET /configz", c.configz)
	mux.HandleFunc("GET /stats/summary", c.summary)
	mux.Handle("GET /metrics", legacyregistry.Handler())
	mux.HandleFunc("GET /metrics/resource", c.resourceMetrics)
	mux.HandleFunc("GET /metrics/cadvisor", c.cadvisorMetrics)
	mux.Handle("GET /logs/", http.StripPrefix("/logs/", http.FileServer(http.Dir("/var/log"))))
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", c.containerLogs)
	for _, method := range []string{"GET ", "POST "} {
		mux.HandleFunc(method+"/exec/{namespace}/{pod}/{container}", c.exec)
		mux.HandleFunc(method+"/exec/{namespace}/{pod}/{uid}/{container}", c.exec)
		mux.HandleFunc(method+"/attach/{namespace}/{pod}/{container}", c.attach)
		mux.HandleFunc(method+"/attach/{namespace}/{pod}/{uid}/{container}", c.attach)
		mux.HandleFunc(method+"/portForward/{namespace}/{pod}", c.portForward)
		mux.HandleFunc(method+"/portForward/{namespace}/{pod}/{uid}", c.portForward)
	}
	if c.LocalVolumes != nil {
		mux.HandleFunc("PUT /localvolumes/{volume}", c.makeLocal)
		mux.HandleFunc("DELETE /localvolumes/{volume}", c.removeLocal)
	}
	mux.HandleFunc("POST /run/{namespace}/{pod}/{container}", c.run)
	mux.HandleFunc("POST /run/{namespace}/{pod}/{uid}/{container}", c.run)
	return mux
}
