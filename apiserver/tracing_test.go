package apiserver_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

// spanCollector keeps the names of spans that it was sent, by service.
type spanCollector struct {
	collector.UnimplementedTraceServiceServer
	address string

	mu    sync.Mutex
	names []string
}

func startCollector(t *testing.T) *spanCollector {
	t.Helper()
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50") // milliseconds between two batches
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &spanCollector{address: listener.Addr().String()}
	s := grpc.NewServer()
	collector.RegisterTraceServiceServer(s, c)
	done := make(chan error, 1)
	go func() { done <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Errorf("collecting spans: %v", err)
		}
	})
	return c
}

// config writes a TracingConfiguration that sends all spans here.
func (c *spanCollector) config(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "tracing.yaml")
	text := fmt.Sprintf("apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\nendpoint: %s\nsamplingRatePerMillion: 1000000\n", c.address)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Export implements collector.TraceServiceServer.
func (c *spanCollector) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.ResourceSpans {
		for _, s := range r.ScopeSpans {
			for _, span := range s.Spans {
				c.names = append(c.names, span.Name)
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// await waits until spans of all names came.
func (c *spanCollector) await(t *testing.T, names ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("spans %v", names), func(context.Context) (bool, any) {
		c.mu.Lock()
		defer c.mu.Unlock()
		seen := map[string]int{}
		for _, n := range c.names {
			seen[n]++
		}
		for _, n := range names {
			if seen[n] == 0 {
				return false, seen
			}
		}
		return true, nil
	})
}
