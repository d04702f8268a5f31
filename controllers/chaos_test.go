package controllers_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"coracle.dev/coracle/controllers"
)

// errCrashed is what requests of controllers that have crashed get.
var errCrashed = errors.New("crashed")

// chaos is the transport of controllers that have bad luck: some of their
// writes meet conflicts, their watches lag, and after a number of writes they
// die, before the last one or right after it.
type chaos struct {
	base  http.RoundTripper
	crash func()

	mu     sync.Mutex
	rng    *rand.Rand
	writes int // until the crash
	dead   atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (c *chaos) RoundTrip(req *http.Request) (*http.Response, error) {
	if c.dead.Load() {
		return nil, errCrashed
	}
	if req.Method == http.MethodGet {
		resp, err := c.base.RoundTrip(req)
		if err == nil && strings.Contains(req.URL.RawQuery, "watch=") {
			resp.Body = &lagging{ReadCloser: resp.Body, lag: c.lag}
		}
		return resp, err
	}
	if strings.Contains(req.URL.Path, "/events") {
		return c.base.RoundTrip(req)
	}
	conflict, last, after := c.fate()
	switch {
	case conflict:
		return refusal(req), nil
	case !last:
		return c.base.RoundTrip(req)
	case after:
		resp, err := c.base.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
	}
	c.dead.Store(true)
	c.crash()
	return nil, errCrashed
}

// fate decides what becomes of a write: it meets a conflict, or is the last
// before the crash; and whether the crash comes after it.
func (c *chaos) fate() (conflict, last, after bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rng.IntN(8) == 0 {
		return true, false, false
	}
	c.writes--
	return false, c.writes == 0, c.rng.IntN(2) == 0
}

func (c *chaos) lag() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rng.IntN(4) > 0 {
		return 0
	}
	return time.Duration(c.rng.IntN(40)) * time.Millisecond
}

// lagging is a watch whose events come late.
type lagging struct {
	io.ReadCloser
	lag func() time.Duration
}

func (l *lagging) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	time.Sleep(l.lag())
	return n, err
}

// refusal is a conflict that nothing caused.
func refusal(req *http.Request) *http.Response {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	body := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","message":"bad luck","code":409}`
	return &http.Response{
		Status: "409 Conflict", StatusCode: http.StatusConflict, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader([]byte(body))), ContentLength: int64(len(body)),
	}
}

// doomed runs controllers that crash after some writes. The channel is closed
// when they have.
func (e *env) doomed(rng *rand.Rand, names ...string) <-chan struct{} {
	ctx, cancel := context.WithCancel(e.t.Context())
	c := &chaos{crash: cancel, rng: rand.New(rand.NewPCG(rng.Uint64(), 0)), writes: 1 + rng.IntN(12)}
	cfg := rest.CopyConfig(e.cfg)
	cfg.Wrap(func(base http.RoundTripper) http.RoundTripper {
		c.base = base
		return c
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		if err := controllers.Run(ctx, cfg, controllers.Options{Controllers: names}); err != nil && ctx.Err() == nil {
			e.t.Errorf("running controllers: %v", err)
		}
	}()
	return done
}
