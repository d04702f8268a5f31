package cgroup

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a cgroup used up to Time.
type Usage struct {
	Time time.Time
	// CPUNanos is CPU time since the cgroup was made.
	CPUNanos uint64
	// Memory is all memory charged, WorkingSet what cannot be had back
	// easily, RSS anonymous memory, all in bytes.
	Memory, WorkingSet, RSS uint64
	PageFaults, MajorFaults uint64
	// Limit is the memory limit; 0 means none.
	Limit uint64
	// Processes is the number of threads; 0 if not known.
	Processes uint64
}

// Usage measures a cgroup path; "/" is the whole machine as far as the
// hierarchy shows it.
func (m *Manager) Usage(path string) (Usage, error) {
	u := Usage{Time: time.Now()}
	if m.v2 {
		return u, u.readV2(filepath.Join(m.root, path))
	}
	return u, u.readV1(m.root, path)
}

// PodUsage measures a pod's cgroup.
func (m *Manager) PodUsage(uid string) (Usage, error) { return m.Usage(m.PodPath(uid)) }

// PodProcess is one process of the pod, whichever comes first; false if it has
// none. By it the pod's namespaces can be found.
func (m *Manager) PodProcess(uid string) (pid int, ok bool) {
	controller := ""
	if !m.v2 {
		controller = "cpu"
	}
	top := filepath.Join(m.root, controller, m.PodPath(uid))
	err := filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(string(data), "\n")
		if n, err := strconv.Atoi(first); err == nil && n > 0 {
			pid = n
			return filepath.SkipAll
		}
		return nil
	})
	return pid, err == nil && pid > 0
}

func (u *Usage) readV2(dir string) error {
	cpu, err := fields(dir, "cpu.stat")
	if err != nil {
		return err
	}
	u.CPUNanos = cpu["usage_usec"] * 1000
	stat, err := fields(dir, "memory.stat")
	if err != nil {
		return err
	}
	u.RSS = stat["anon"]
	u.PageFaults, u.MajorFaults = stat["pgfault"], stat["pgmajfault"]
	// The root cgroup has no memory.current.
	if u.Memory, err = number(dir, "memory.current"); err != nil {
		u.Memory = stat["anon"] + stat["file"]
	}
	u.WorkingSet = subtract(u.Memory, stat["inactive_file"])
	u.Limit, _ = number(dir, "memory.max")
	u.Processes, _ = number(dir, "pids.current")
	return nil
}

func (u *Usage) readV1(root, path string) error {
	var err error
	if u.CPUNanos, err = number(filepath.Join(root, "cpuacct", path), "cpuacct.usage"); err != nil {
		return err
	}
	memory := filepath.Join(root, "memory", path)
	if u.Memory, err = number(memory, "memory.usage_in_bytes"); err != nil {
		return err
	}
	stat, err := fields(memory, "memory.stat")
	if err != nil {
		return err
	}
	u.RSS = stat["total_rss"]
	u.PageFaults, u.MajorFaults = stat["total_pgfault"], stat["total_pgmajfault"]
	u.WorkingSet = subtract(u.Memory, stat["total_inactive_file"])
	if limit, err := number(memory, "memory.limit_in_bytes"); err == nil && limit < math.MaxInt64/2 {
		u.Limit = limit
	}
	u.Processes, _ = number(filepath.Join(root, "pids", path), "pids.current")
	return nil
}

func subtract(a, b uint64) uint64 {
	if b > a {
		return 0
	}
	return a - b
}

func number(dir, file string) (uint64, error) {
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0, fmt.Errorf("reading cgroup: %w", err)
	}
	s := strings.TrimSpace(string(data))
	if s == "max" {
		return 0, nil
	}
	return strconv.ParseUint(s, 10, 64)
}

func fields(dir, file string) (map[string]uint64, error) {
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return nil, fmt.Errorf("reading cgroup: %w", err)
	}
	out := map[string]uint64{}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseUint(value, 10, 64); err == nil {
			out[name] = v
		}
	}
	return out, nil
}

func curve(shares int64) int64 {
	l := math.Log2(float64(shares))
	exponent := (l*l+125*l)/612.0 - 7.0/34.0
	return int64(math.Ceil(math.Pow(10, exponent)))
}
