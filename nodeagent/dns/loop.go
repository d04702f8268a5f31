package dns

import (
	"context"
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// probeTimeout is how long a name server has to bring a question back to us.
const probeTimeout = 2 * time.Second

// loops finds name servers that ask this very server what it asks them, as
// CoreDNS's plugin loop does: each is asked for a name that nobody else knows,
// and is one of them when the question comes back. Where the plugin ends the
// process, loops tells which servers not to ask. It is safe for concurrent use.
type loops struct {
	mu    sync.Mutex
	asked map[string]netip.AddrPort
	found []netip.AddrPort
}

// notice says whether r is one of the questions that probe asked.
func (l *loops) notice(r *dns.Msg) bool {
	q := r.Question[0]
	if q.Qtype != dns.TypeHINFO {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	server, ok := l.asked[strings.ToLower(q.Name)]
	if ok && !slices.Contains(l.found, server) {
		l.found = append(l.found, server)
	}
	return ok
}

// probe returns those of the servers that lead back here. One that does not
// answer in time counts as one that does not.
func (l *loops) probe(ctx context.Context, servers []netip.AddrPort) []netip.AddrPort {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	l.mu.Lock()
	l.asked, l.found = map[string]netip.AddrPort{}, nil
	for _, s := range servers {
		l.asked[strings.ToLower(rand.Text()+"."+rand.Text()+".")] = s
	}
	var g errgroup.Group
	for name, s := range l.asked {
		g.Go(func() error {
			m := new(dns.Msg)
			m.SetQuestion(name, dns.TypeHINFO)
			client := dns.Client{Timeout: probeTimeout}
			_, _, _ = client.ExchangeContext(ctx, m, s.String()) // what it answers is no matter
			return nil
		})
	}
	l.mu.Unlock()
	_ = g.Wait() // there are no errors
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = nil
	return l.found
}
