package batch

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestSlowStart(t *testing.T) {
	boom := errors.New("boom")
	for _, tc := range []struct {
		name        string
		n           int
		fails       func(i int) bool
		calls, done int
		failed      bool
	}{
		{"none", 0, nil, 0, 0, false},
		{"all succeed", 100, nil, 100, 100, false},
		{"the first fails: no more are tried", 100, func(int) bool { return true }, 1, 0, true},
		{"a later round fails in part", 100, func(i int) bool { return i == 4 }, 7, 6, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var mu sync.Mutex
			seen := map[int]bool{}
			done, err := SlowStart(tc.n, func(i int) error {
				mu.Lock()
				defer mu.Unlock()
				if seen[i] {
					t.Errorf("called twice for %d", i)
				}
				seen[i] = true
				if tc.fails != nil && tc.fails(i) {
					return boom
				}
				return nil
			})
			if len(seen) != tc.calls || done != tc.done || errors.Is(err, boom) != tc.failed {
				t.Errorf("%d calls, %d succeeded, error %v; want %d, %d, %v", len(seen), done, err, tc.calls, tc.done, tc.failed)
			}
		})
	}
}

func TestAllBoundsConcurrency(t *testing.T) {
	var running, most atomic.Int32
	n, err := All(500, func(int) error {
		r := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); r > m && !most.CompareAndSwap(m, r); m = most.Load() {
		}
		return nil
	})
	if n != 500 || err != nil || most.Load() > Workers {
		t.Errorf("%d calls, error %v, %d at once", n, err, most.Load())
	}
}
