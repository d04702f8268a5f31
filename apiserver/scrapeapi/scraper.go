package scrapeapi

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	// fresh is how long an answer of a pod is used.
	fresh = 10 * time.Second
	// first is the time between the two questions for a rate.
	first = time.Second
	// stale is how old an earlier answer may be to make a rate of.
	stale = 2 * time.Minute
	// podTimeout bounds one question, mostBytes one answer, askers how many pods are asked at once.
	podTimeout = 3 * time.Second
	mostBytes  = 16 << 20
	askers     = 32
)

// scraper asks pods for their metrics, and keeps their last answers.
type scraper struct {
	clock     clock.Clock
	transport http.RoundTripper
	// reachable refuses addresses that no pod has.
	reachable func(ip string) error

	mu    sync.Mutex // of pages
	pages map[types.UID]pair
}

func newScraper(c clock.Clock, via http.RoundTripper, reachable func(string) error) *scraper {
	return &scraper{clock: c, transport: via, reachable: reachable, pages: map[types.UID]pair{}}
}

// target is where a pod publishes its metrics; nil if it does not.
func (s *scraper) target(p *corev1.Pod) *url.URL {
	if !publishes(p.Annotations) || p.Status.Phase != corev1.PodRunning || p.Spec.HostNetwork || p.Status.PodIP == "" || s.reachable(p.Status.PodIP) != nil {
		return nil
	}
	port, err := strconv.ParseUint(p.Annotations["prometheus.io/port"], 10, 16)
	if err != nil {
		if len(p.Spec.Containers) == 0 || len(p.Spec.Containers[0].Ports) == 0 {
			return nil
		}
		port = uint64(p.Spec.Containers[0].Ports[0].ContainerPort)
	}
	path := p.Annotations["prometheus.io/path"]
	if !strings.HasPrefix(path, "/") {
		path = "/metrics"
	}
	return &url.URL{Scheme: "http", Host: net.JoinHostPort(p.Status.PodIP, strconv.FormatUint(port, 10)), Path: path}
}

// ask returns what pods publish. Those that do not answer are left out.
func (s *scraper) ask(ctx context.Context, pods []*corev1.Pod) map[types.UID]pair {
	out := map[types.UID]pair{}
	var mu sync.Mutex // of out
	var g errgroup.Group
	g.SetLimit(askers)
	for _, p := range pods {
		at := s.target(p)
		if at == nil {
			continue
		}
		g.Go(func() error {
			pages, err := s.pod(ctx, p.UID, at)
			if err != nil {
				klog.FromContext(ctx).V(2).Info("Could not read a pod's metrics", "pod", klog.KObj(p), "err", err)
				return nil // the others' are of use without it
			}
			mu.Lock()
			defer mu.Unlock()
			out[p.UID] = pages
			return nil
		})
	}
	_ = g.Wait()
	return out
}

// pod returns the last pages of one pod, not much older than now.
func (s *scraper) pod(ctx context.Context, uid types.UID, at *url.URL) (pair, error) {
	s.mu.Lock()
	last := s.pages[uid]
	s.mu.Unlock()
	now := s.clock.Now()
	if last.after != nil && now.Sub(last.after.at) < fresh && (last.before != nil || len(last.after.counters) == 0) {
		return last, nil
	}
	if last.after != nil && now.Sub(last.after.at) > stale {
		last = pair{}
	}
	page, err := s.get(ctx, at)
	if err != nil {
		return pair{}, err
	}
	next := pair{last.after, page}
	if next.before == nil && len(page.counters) > 0 {
		timer := s.clock.NewTimer(first)
		defer timer.Stop()
		select {
		case <-timer.C():
		case <-ctx.Done():
			return pair{}, ctx.Err()
		}
		if page, err = s.get(ctx, at); err != nil {
			return pair{}, err
		}
		next = pair{next.after, page}
	}
	s.keep(uid, next)
	return next, nil
}

// keep notes the pages of a pod, and drops those of pods that nobody asks for any more.
func (s *scraper) keep(uid types.UID, p pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, old := range s.pages {
		if p.after.at.Sub(old.after.at) > 2*stale {
			delete(s.pages, other)
		}
	}
	s.pages[uid] = p
}

func (s *scraper) get(ctx context.Context, at *url.URL) (*page, error) {
	ctx, cancel := context.WithTimeout(ctx, podTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/plain;version=0.0.4")
	now := s.clock.Now()
	res, err := s.transport.RoundTrip(r) // redirects are not followed: they may lead anywhere
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", res.Status)
	}
	return parse(http.MaxBytesReader(nil, res.Body, mostBytes), now)
}
