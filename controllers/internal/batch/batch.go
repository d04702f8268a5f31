// Package batch makes many calls at once, carefully.
package batch

import (
	"errors"
	"sync"
	"sync/atomic"
)

// Workers is how many calls run at the same time. More does not make an API
// server on a few cores faster, it only makes its other clients wait.
const Workers = 32

// SlowStart calls f(i) for each i in [0, n), in rounds of 1, 2, 4, … calls, and
// stops after a round in which a call failed: when all calls fail for one
// reason, an exhausted quota for example, few are wasted. It returns how many
// calls succeeded, and the errors of the round that failed.
func SlowStart(n int, f func(i int) error) (int, error) {
	done := 0
	for size := 1; done < n; size *= 2 {
		size = min(size, n-done)
		succeeded, err := All(size, func(i int) error { return f(done + i) })
		if err != nil {
			return done + succeeded, err
		}
		done += size
	}
	return done, nil
}

// All calls f(i) for each i in [0, n), Workers at a time, and returns how many
// calls succeeded, and the errors of those that did not.
func All(n int, f func(i int) error) (int, error) {
	var (
		next atomic.Int64
		mu   sync.Mutex
		errs []error
		wg   sync.WaitGroup
	)
	for range min(n, Workers) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return n - len(errs), errors.Join(errs...)
}
