package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/coredns/coredns/plugin/pkg/nonwriter"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"
)

// handler passes queries to the plugins and turns their result codes into
// answers.
type handler struct {
	chain plugin.Handler
	loops *loops
}

// newHandler also lets the plugin look up, through the same chain, where an
// ExternalName leads.
func newHandler(names clusterNames, l *loops) *handler {
	h := &handler{chain: names, loops: l}
	names.Upstream = h
	return h
}

// serve answers one query.
func (h *handler) serve(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) {
	defer func() {
		if p := recover(); p != nil {
			klog.FromContext(ctx).Error(fmt.Errorf("panic: %v", p), "Answering a query", "stack", string(debug.Stack()))
			refuse(w, r, dns.RcodeServerFailure)
		}
	}()
	if len(r.Question) == 0 {
		refuse(w, r, dns.RcodeFormatError)
		return
	}
	if r.Question[0].Qclass != dns.ClassINET {
		refuse(w, r, dns.RcodeRefused)
		return
	}
	if h.loops.notice(r) {
		refuse(w, r, dns.RcodeRefused)
		return
	}
	if m, err := edns.Version(r); err != nil {
		_ = w.WriteMsg(m) // that the client went away is no matter
		return
	}
	h.answer(ctx, request.NewScrubWriter(r, w), r)
}

func (h *handler) answer(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) {
	rcode, err := h.chain.ServeDNS(ctx, w, r)
	if err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).V(2).Info("A query could not be answered", "name", r.Question[0].Name,
			"type", dns.TypeToString[r.Question[0].Qtype], "reason", err.Error())
	}
	if !plugin.ClientWrite(rcode) {
		refuse(w, r, rcode)
	}
}

func refuse(w dns.ResponseWriter, r *dns.Msg, rcode int) {
	m := new(dns.Msg)
	m.SetRcode(r, rcode)
	state := request.Request{W: w, Req: r}
	state.SizeAndDo(m)
	_ = w.WriteMsg(m) // that the client went away is no matter
}

// Lookup is what the kubernetes plugin calls for names that it does not have.
func (h *handler) Lookup(ctx context.Context, state request.Request, name string, qtype uint16) (*dns.Msg, error) {
	w := nonwriter.New(state.W)
	h.answer(ctx, w, state.NewWithQuestion(name, qtype).Req)
	if w.Msg == nil {
		return nil, fmt.Errorf("looking up %s: no answer", name)
	}
	return w.Msg, nil
}

// server is a UDP and a TCP socket with one handler.
type server struct{ udp, tcp *dns.Server }

// stopTimeout bounds the wait for queries under way.
const stopTimeout = time.Second

func listen(ctx context.Context, at netip.AddrPort, h *handler) (server, error) {
	var config net.ListenConfig
	packets, err := config.ListenPacket(ctx, "udp", at.String())
	if err != nil {
		return server{}, fmt.Errorf("listening for names: %w", err)
	}
	// With port 0, TCP has the port that UDP was given.
	port := packets.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	connections, err := config.Listen(ctx, "tcp", netip.AddrPortFrom(at.Addr(), port).String())
	if err != nil {
		return server{}, errors.Join(fmt.Errorf("listening for names: %w", err), packets.Close())
	}
	serve := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) { h.serve(ctx, w, r) })
	return server{
		udp: &dns.Server{PacketConn: packets, Handler: serve},
		tcp: &dns.Server{Listener: connections, Handler: serve},
	}, nil
}

// serve returns when ctx has ended and both sockets are closed.
func (s server) serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, one := range []*dns.Server{s.udp, s.tcp} {
		started := make(chan struct{})
		one.NotifyStartedFunc = func() { close(started) }
		g.Go(func() error {
			if err := one.ActivateAndServe(); err != nil {
				return fmt.Errorf("serving names: %w", err)
			}
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			select {
			case <-started:
			case <-time.After(stopTimeout): // it never began
				return nil
			}
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			if err := one.ShutdownContext(stop); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("stopping to serve names: %w", err)
			}
			return nil
		})
	}
	return g.Wait()
}
