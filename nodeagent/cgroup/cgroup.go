// Package cgroup makes, measures and removes the cgroups of pods, in the
// unified hierarchy (v2) and in the one-per-controller hierarchies (v1).
//
// Contract: a pod's cgroup is the parent that the runtime is told to put the
// pod's containers below (the cgroupfs driver; no systemd). This package owns
// the folder named by Config.Base in every hierarchy and nothing else, and
// removes a pod's cgroup only when no process is left in it.
//
// Difference from Kubernetes: no folder per quality-of-service class.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	mountPoint = "/sys/fs/cgroup"
	podPrefix  = "pod"
)

// Manager keeps the pod cgroups of one node agent.
type Manager struct {
	root string
	base string
	v2   bool
	// v1 controllers that are mounted, by folder name.
	controllers []string
}

// New finds out which hierarchy is in use. base is the absolute cgroup path
// below which all pods live, such as "/coracle/mycluster".
func New(base string) (*Manager, error) {
	return newAt(mountPoint, base)
}

func newAt(root, base string) (*Manager, error) {
	m := &Manager{root: root, base: filepath.Clean("/" + base)}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		m.v2 = true
		return m, nil
	}
	for _, c := range []string{"cpu", "cpuacct", "memory", "cpuset", "pids", "blkio", "devices", "freezer", "hugetlb", "net_cls", "net_prio", "perf_event", "rdma", "misc", "systemd"} {
		dir := filepath.Join(root, c)
		if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
			m.controllers = append(m.controllers, c)
		}
	}
	if len(m.controllers) == 0 {
		return nil, fmt.Errorf("finding cgroups: nothing is mounted at %s", root)
	}
	return m, nil
}

// V2 tells whether the unified hierarchy is in use.
func (m *Manager) V2() bool { return m.v2 }

// SwapLimit tells whether the kernel can limit the swap of a cgroup. The root
// has no such file, so any cgroup below it is asked.
func (m *Manager) SwapLimit() bool {
	found, err := filepath.Glob(filepath.Join(m.root, "*", "memory.swap.max"))
	return m.v2 && err == nil && len(found) > 0
}

// PodPath is the pod's cgroup as the runtime wants it named.
func (m *Manager) PodPath(uid string) string { return filepath.Join(m.base, podPrefix+uid) }

// Create makes the pod's cgroup, or updates it.
func (m *Manager) Create(uid string, r *runtimev1.LinuxContainerResources) error {
	if m.v2 {
		return m.createV2(uid, r)
	}
	for _, c := range []string{"cpu", "memory", "pids"} {
		dir := filepath.Join(m.root, c, m.PodPath(uid))
		if _, err := os.Stat(filepath.Join(m.root, c)); err != nil {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("creating pod cgroup: %w", err)
		}
	}
	cpu := filepath.Join(m.root, "cpu", m.PodPath(uid))
	err := write(cpu, "cpu.shares", strconv.FormatInt(r.CpuShares, 10))
	if r.CpuQuota > 0 {
		err = errors.Join(err,
			write(cpu, "cpu.cfs_period_us", strconv.FormatInt(r.CpuPeriod, 10)),
			write(cpu, "cpu.cfs_quota_us", strconv.FormatInt(r.CpuQuota, 10)))
	}
	if r.MemoryLimitInBytes > 0 {
		err = errors.Join(err, write(filepath.Join(m.root, "memory", m.PodPath(uid)), "memory.limit_in_bytes", strconv.FormatInt(r.MemoryLimitInBytes, 10)))
	}
	return err
}

func (m *Manager) createV2(uid string, r *runtimev1.LinuxContainerResources) error {
	dir := filepath.Join(m.root, m.PodPath(uid))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("creating pod cgroup: %w", err)
	}
	if err := m.enable(filepath.Dir(dir)); err != nil {
		return err
	}
	err := write(dir, "cpu.weight", strconv.FormatInt(Weight(r.CpuShares), 10))
	if r.CpuQuota > 0 {
		err = errors.Join(err, write(dir, "cpu.max", fmt.Sprintf("%d %d", r.CpuQuota, r.CpuPeriod)))
	}
	if r.MemoryLimitInBytes > 0 {
		err = errors.Join(err, write(dir, "memory.max", strconv.FormatInt(r.MemoryLimitInBytes, 10)))
	}
	return err
}

// enable turns the controllers on from the root down to dir.
func (m *Manager) enable(dir string) error {
	available, err := os.ReadFile(filepath.Join(m.root, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("reading cgroup controllers: %w", err)
	}
	var want []string
	for _, c := range strings.Fields(string(available)) {
		want = append(want, "+"+c)
	}
	rel, err := filepath.Rel(m.root, dir)
	if err != nil {
		return err
	}
	at := m.root
	for _, part := range append([]string{""}, strings.Split(rel, "/")...) {
		at = filepath.Join(at, part)
		enabled, _ := os.ReadFile(filepath.Join(at, "cgroup.subtree_control"))
		if len(strings.Fields(string(enabled))) == len(want) {
			continue
		}
		if err := write(at, "cgroup.subtree_control", strings.Join(want, " ")); err != nil {
			if errors.Is(err, unix.EBUSY) {
				return fmt.Errorf("enabling cgroup controllers: processes live directly in %s; move them to a cgroup of their own: %w", at, err)
			}
			return err
		}
	}
	return nil
}

// Weight turns v1 CPU shares (2..262144, 1024 is one CPU) into a v2 weight
// (1..10000), by the curve that runc 1.3 and crun 1.23 use, on which 1024
// shares are weight 100.
func Weight(shares int64) int64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	return curve(shares)
}

// Remove removes the pod's cgroup with what the runtime left below it. It
// fails while processes remain.
func (m *Manager) Remove(uid string) error {
	var all error
	for _, dir := range m.dirs(m.PodPath(uid)) {
		all = errors.Join(all, removeTree(dir))
	}
	return all
}

// RemoveAll removes every pod's cgroup and the folder above them.
func (m *Manager) RemoveAll() error {
	var all error
	for _, dir := range m.dirs(m.base) {
		all = errors.Join(all, removeTree(dir))
		// The folder of all clusters goes with the last one.
		if parent := filepath.Dir(dir); filepath.Dir(m.base) != "/" {
			_ = unix.Rmdir(parent)
		}
	}
	return all
}

// Pods lists the UIDs that have a cgroup.
func (m *Manager) Pods() []string {
	seen := map[string]bool{}
	var out []string
	for _, dir := range m.dirs(m.base) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			uid, ok := strings.CutPrefix(e.Name(), podPrefix)
			if ok && e.IsDir() && !seen[uid] {
				seen[uid] = true
				out = append(out, uid)
			}
		}
	}
	return out
}

// dirs lists the folders of a cgroup path in every hierarchy. Hierarchies
// that are mounted together appear once.
func (m *Manager) dirs(path string) []string {
	if m.v2 {
		return []string{filepath.Join(m.root, path)}
	}
	var out []string
	for _, c := range append(m.controllers, "unified") {
		out = append(out, filepath.Join(m.root, c, path))
	}
	return out
}

func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing cgroup: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing cgroup %s: %w", dir, err)
	}
	return nil
}

func write(dir, file, value string) error {
	// Not created: a cgroup's files exist or the controller is missing.
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		_, err = f.WriteString(value)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("setting cgroup %s to %q: %w", file, value, err)
	}
	return nil
}
