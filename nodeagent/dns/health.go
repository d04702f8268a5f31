package dns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/klog/v2"
)

// headerTimeout bounds how long a client may take to send its request's head.
const headerTimeout = 5 * time.Second

// listenHealth returns nil when there is no such address, and also when it is
// taken, by a pod on the host network perhaps: that is no reason not to answer
// names, and is logged.
func listenHealth(ctx context.Context, at netip.AddrPort) net.Listener {
	if !at.IsValid() {
		return nil
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", at.String())
	if err != nil {
		klog.FromContext(ctx).Error(err, "Not serving the name server's health and metrics", "address", at)
		return nil
	}
	return l
}

// serveHealth answers /health, /ready and /metrics until ctx ends.
func serveHealth(ctx context.Context, l net.Listener, ready <-chan struct{}) error {
	if l == nil {
		return nil
	}
	s := &http.Server{Handler: healthHandler(ready), ReadHeaderTimeout: headerTimeout}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the name server's health: %w", err)
	}
	return nil
}

func healthHandler(ready <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, http.StatusText(http.StatusOK))
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-ready:
			_, _ = io.WriteString(w, http.StatusText(http.StatusOK))
		default: // CoreDNS answers with the names of the plugins that are not ready
			http.Error(w, "kubernetes", http.StatusServiceUnavailable)
		}
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.GathererFunc(pluginMetrics), promhttp.HandlerOpts{}))
	return mux
}

// pluginMetrics are those of CoreDNS's plugins: the process has many others,
// which are not for pods.
func pluginMetrics() ([]*dto.MetricFamily, error) {
	all, err := prometheus.DefaultGatherer.Gather()
	var own []*dto.MetricFamily
	for _, m := range all {
		if strings.HasPrefix(m.GetName(), "coredns_") {
			own = append(own, m)
		}
	}
	return own, err
}
