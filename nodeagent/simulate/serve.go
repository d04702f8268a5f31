package simulate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/nodeagent/serve/guard"
)

const headerTimeout = 30 * time.Second

// loopback are the addresses of all simulated nodes.
var loopback = netip.MustParsePrefix("127.0.0.0/8")

// api makes the server of the nodes' API.
func (s *simulation) api(ctx context.Context) (*http.Server, error) {
	ca, err := dynamiccertificates.NewStaticCAContent("client-ca", s.Authority.CertPEM)
	if err != nil {
		return nil, fmt.Errorf("reading the CA of clients: %w", err)
	}
	entry, err := guard.New(s.client, ca)
	if err != nil {
		return nil, err
	}
	issue, err := s.Authority.issuer()
	if err != nil {
		return nil, err
	}
	return &http.Server{
		Handler:           s.reachable(entry.Wrap(s.nameOf, s.routes())),
		ReadHeaderTimeout: headerTimeout,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert,
			GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				return issue(addressOf(hello.Conn.LocalAddr()))
			},
		},
	}, nil
}

// serve serves the nodes' API until ctx ends.
func (s *simulation) serve(ctx context.Context, server *http.Server, l net.Listener) {
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ServeTLS(l, "", ""); err != nil && !errors.Is(err, http.ErrServerClosed) {
		klog.FromContext(ctx).Error(err, "Could not serve the API of the simulated nodes")
	}
}

func addressOf(a net.Addr) netip.Addr {
	tcp, is := a.(*net.TCPAddr)
	if !is {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}

// nodeOf is the node whose address a request was sent to.
func (s *simulation) nodeOf(r *http.Request) *node {
	local, is := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !is {
		return nil
	}
	return s.fleet.at(addressOf(local))
}

func (s *simulation) nameOf(r *http.Request) string { return s.nodeOf(r).name }

// reachable lets only requests through whose node is there and has power.
func (s *simulation) reachable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := s.nodeOf(r); n == nil || n.down.Load() {
			panic(http.ErrAbortHandler) // as if nobody were there
		}
		next.ServeHTTP(w, r)
	})
}
