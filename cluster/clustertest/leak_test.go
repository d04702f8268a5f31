package clustertest_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"coracle.dev/coracle/cluster/clustertest"
)

// TestNothingIsLeft runs clusters one after another, and compares what there is after the last with what
// there was after the first: what the libraries start once for the process is not the cluster's.
func TestNothingIsLeft(t *testing.T) {
	run := func() (dir string) {
		t.Run("", func(t *testing.T) {
			clustertest.Start(t)
			dir = filepath.Dir(t.TempDir())
		})
		return dir
	}
	run()
	settle(t, 0)
	before := runtime.NumGoroutine()
	for range 2 {
		if dir := run(); dir != "" {
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("its files are still there: %v", err)
			}
		}
	}
	if after := settle(t, before); after > before {
		t.Errorf("%d goroutines are left of 2 clusters:\n%s", after-before, stacks())
	}
}

// settle waits until there are no more goroutines than allowed, or for as long as their number falls.
func settle(t *testing.T, allowed int) int {
	t.Helper()
	least, since := runtime.NumGoroutine(), time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for least > allowed && time.Since(since) < 10*time.Second {
		<-tick.C
		if n := runtime.NumGoroutine(); n < least {
			least, since = n, time.Now()
		}
		if allowed == 0 && time.Since(since) > 2*time.Second {
			break
		}
	}
	return least
}

// stacks tells what goroutines there are, by the line that started them.
func stacks() string {
	buf := make([]byte, 8<<20)
	buf = buf[:runtime.Stack(buf, true)]
	count := map[string]int{}
	for line := range strings.Lines(string(buf)) {
		if at, is := strings.CutPrefix(line, "created by "); is {
			at, _, _ = strings.Cut(at, " in goroutine")
			count[strings.TrimSpace(at)]++
		}
	}
	var b strings.Builder
	for at, n := range count {
		b.WriteString(strings.Repeat(" ", 2) + strings.TrimSpace(at) + ": " + string(rune('0'+n%10)) + "\n")
	}
	return b.String()
}
