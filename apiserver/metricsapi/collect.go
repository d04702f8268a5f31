package metricsapi

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	// round is the time between two measurements while somebody wants to know.
	round = 15 * time.Second
	// interest is how long after a request somebody still wants to know.
	interest = 5 * time.Minute
	// first is the time between the two measurements that a request waits for.
	first = time.Second
	// agentTimeout bounds one question to one agent, askers how many are asked at once.
	agentTimeout = 5 * time.Second
	askers       = 32
)

// Ask returns what the agent of a node says at /metrics/resource.
type ask func(ctx context.Context, node string) (*sample, error)

// collector measures nodes, while somebody wants to know.
type collector struct {
	clock  clock.WithTicker
	ask    ask
	names  func(context.Context) ([]string, error)
	wanted chan struct{} // holds a token after a request
	flight singleflight.Group

	mu    sync.Mutex // of what follows
	asked time.Time  // of the last request
	fresh time.Time  // when the last round ended
	nodes map[string]pair
}

func newCollector(c clock.WithTicker, a ask, names func(context.Context) ([]string, error)) *collector {
	return &collector{clock: c, ask: a, names: names, wanted: make(chan struct{}, 1), nodes: map[string]pair{}}
}

// run measures every round as long as requests come, until ctx ends.
func (c *collector) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wanted:
		}
		ticker := c.clock.NewTicker(round)
		for c.interested() {
			select {
			case <-ctx.Done():
			case <-ticker.C():
				c.measure(ctx)
				continue
			}
			break
		}
		ticker.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

func (c *collector) interested() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clock.Since(c.asked) < interest
}

// current returns what was last measured, and measures first if that is long ago.
func (c *collector) current(ctx context.Context) (map[string]pair, error) {
	c.mu.Lock()
	now := c.clock.Now()
	c.asked = now
	stale := now.Sub(c.fresh) > 2*round
	c.mu.Unlock()
	select {
	case c.wanted <- struct{}{}:
	default:
	}
	if stale {
		done := c.flight.DoChan("start", func() (any, error) { return nil, c.start(context.WithoutCancel(ctx)) })
		select {
		case r := <-done:
			if r.Err != nil {
				return nil, r.Err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes, nil // replaced as a whole, never changed
}

// start measures twice, so that there is something to compare.
func (c *collector) start(ctx context.Context) error {
	if err := c.measure(ctx); err != nil {
		return err
	}
	timer := c.clock.NewTimer(first)
	defer timer.Stop()
	<-timer.C()
	return c.measure(ctx)
}

// measure asks all agents. Those that do not answer keep their last figures for a round.
func (c *collector) measure(ctx context.Context) error {
	names, err := c.names(ctx)
	if err != nil {
		return err
	}
	begin := c.clock.Now()
	samples := make([]*sample, len(names))
	var g errgroup.Group
	g.SetLimit(askers)
	for i, name := range names {
		g.Go(func() error {
			limited, cancel := context.WithTimeout(ctx, agentTimeout)
			defer cancel()
			s, err := c.ask(limited, name)
			if err != nil {
				klog.FromContext(ctx).V(2).Info("Could not measure a node", "node", name, "err", err)
				return nil // the others' figures are of use without it
			}
			samples[i] = s
			return nil
		})
	}
	_ = g.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	next := make(map[string]pair, len(names))
	for i, name := range names {
		old, known := c.nodes[name]
		if known && begin.Sub(old.round) > 3*round {
			old = pair{}
		}
		if s := samples[i]; s != nil {
			next[name] = old.next(s, begin)
		} else if known && begin.Sub(old.round) <= round {
			next[name] = old
		}
	}
	c.nodes, c.fresh = next, c.clock.Now()
	return nil
}
