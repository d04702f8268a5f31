package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// files writes a tree of files below dir.
func files(t *testing.T, dir string, content map[string]string) {
	t.Helper()
	for name, text := range content {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUsage(t *testing.T) {
	for name, c := range map[string]struct {
		tree map[string]string
		want Usage
	}{
		"v2": {map[string]string{
			"cgroup.controllers": "cpu memory", "c/podu/cpu.stat": "usage_usec 7\n", "c/podu/memory.current": "100\n", "c/podu/memory.max": "max\n", "c/podu/pids.current": "3\n",
			"c/podu/memory.stat": "anon 40\ninactive_file 30\npgfault 5\npgmajfault 1\n",
		}, Usage{CPUNanos: 7000, Memory: 100, WorkingSet: 70, RSS: 40, PageFaults: 5, MajorFaults: 1, Processes: 3}},
		"v1": {map[string]string{
			"cpuacct/c/podu/cpuacct.usage": "7000\n", "memory/c/podu/memory.usage_in_bytes": "100\n", "memory/c/podu/memory.limit_in_bytes": "1000\n", "pids/c/podu/pids.current": "3\n",
			"memory/c/podu/memory.stat": "total_rss 40\ntotal_inactive_file 130\ntotal_pgfault 5\ntotal_pgmajfault 1\n",
		}, Usage{CPUNanos: 7000, Memory: 100, WorkingSet: 0, RSS: 40, PageFaults: 5, MajorFaults: 1, Limit: 1000, Processes: 3}},
	} {
		dir := t.TempDir()
		files(t, dir, c.tree)
		m, err := newAt(dir, "/c")
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.PodUsage("u")
		if err != nil {
			t.Fatal(err)
		}
		c.want.Time = got.Time
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff([]string{"u"}, m.Pods()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestPodCgroup makes a cgroup of this machine.
func TestPodCgroup(t *testing.T) {
	m, err := New("/coracle/test-cgroup")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.RemoveAll(); err != nil {
			t.Error(err)
		}
	}()
	if err := m.Create("u", &runtimev1.LinuxContainerResources{CpuShares: 512, CpuPeriod: 100000, CpuQuota: 50000, MemoryLimitInBytes: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"cpu/cpu.shares": "512", "cpu/cpu.cfs_quota_us": "50000", "memory/memory.limit_in_bytes": "67108864"}
	if m.V2() {
		want = map[string]string{"cpu.max": "50000 100000", "memory.max": "67108864"}
	}
	for file, value := range want {
		controller, name, ok := strings.Cut(file, "/")
		if !ok {
			controller, name = "", file
		}
		data, err := os.ReadFile(filepath.Join(mountPoint, controller, m.PodPath("u"), name))
		if err != nil || strings.TrimSpace(string(data)) != value {
			t.Errorf("%s is %q, %v", file, data, err)
		}
	}
	if err := m.Remove("u"); err != nil {
		t.Fatal(err)
	}
	if left := m.Pods(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestWeight(t *testing.T) {
	for shares, want := range map[int64]int64{2: 1, 1024: 100, 262144: 10000} {
		if got := Weight(shares); got != want {
			t.Errorf("%d shares are weight %d, want %d", shares, got, want)
		}
	}
	for shares, last := int64(2), int64(0); shares < 262144; shares *= 2 {
		if w := Weight(shares); w < last {
			t.Errorf("%d shares weigh less than half of them", shares)
		} else {
			last = w
		}
	}
}
