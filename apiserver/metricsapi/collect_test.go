package metricsapi

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
)

// TestNobodyIsAskedUnlessSomebodyWantsToKnow follows a collector through a day.
func TestNobodyIsAskedUnlessSomebodyWantsToKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		begin := time.Now()
		c := newCollector(clock.RealClock{}, func(_ context.Context, node string) (*sample, error) {
			if node == "dead" {
				return nil, errors.New("no route to host")
			}
			asked.Add(1)
			now := time.Now()
			return &sample{node: reading{at: now, cpu: 2 * now.Sub(begin).Seconds(), memory: 5, hasCPU: true}}, nil
		}, func(context.Context) ([]string, error) { return []string{"a", "dead"}, nil })
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { c.run(ctx); close(done) }()
		defer func() { stop(); <-done }()

		time.Sleep(time.Hour)
		if n := asked.Load(); n != 0 {
			t.Errorf("asked %d times without need", n)
		}
		nodes, err := c.current(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if u, ok := nodes["a"].node(); !ok || u.cores != 2 || u.window != time.Second || asked.Load() != 2 {
			t.Errorf("the first answer is %+v, %v after %d questions", u, ok, asked.Load())
		}
		if _, ok := nodes["dead"].node(); ok {
			t.Error("a node that does not answer has figures")
		}
		time.Sleep(time.Minute)
		before := asked.Load()
		if nodes, err = c.current(ctx); err != nil {
			t.Fatal(err)
		}
		if u, _ := nodes["a"].node(); u.window != round || asked.Load() != before || before < 5 {
			t.Errorf("a minute later it is %+v, after %d questions, %d of them for it", u, before, asked.Load()-before)
		}
		time.Sleep(time.Hour)
		before = asked.Load()
		time.Sleep(time.Hour)
		if after := asked.Load(); after != before {
			t.Errorf("asked %d times long after the last request", after-before)
		}
		if nodes, err = c.current(ctx); err != nil {
			t.Fatal(err)
		}
		if u, ok := nodes["a"].node(); !ok || u.window != time.Second {
			t.Errorf("after a pause it is %+v, %v", u, ok)
		}
	})
}
