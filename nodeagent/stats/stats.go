// Package stats measures the node, its pods and their containers.
//
// Contract: every figure is read when it is asked for; nothing is kept but the
// last CPU reading of each thing, from which the next one computes usage per
// second. CPU and memory of the node and of pods come from cgroups, those of
// containers from the runtime, network figures from the pods' sandboxes.
package stats

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	kubelettypes "k8s.io/kubelet/pkg/types"

	"coracle.dev/coracle/nodeagent/cgroup"
	"coracle.dev/coracle/nodeagent/pod"
)

// Pods lists what runs.
type Pods interface{ Views() []pod.View }

// Collector measures.
type Collector struct {
	NodeName string
	CRI      runtimev1.RuntimeServiceClient
	Images   runtimev1.ImageServiceClient
	Cgroups  *cgroup.Manager
	Pods     Pods
	RootDir  string
	Started  time.Time

	mu   sync.Mutex // guards last
	last map[string]reading
}

type reading struct {
	at    time.Time
	nanos uint64
	rate  *uint64
}

// shortestSpan is the time over which usage per second is measured at least:
// readings that are closer say nothing.
const shortestSpan = time.Second

// rate is the usage in nano-cores between this reading and an earlier one; nil
// as long as there is none.
func (c *Collector) rate(key string, at time.Time, nanos uint64) *uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = map[string]reading{}
	}
	before, ok := c.last[key]
	elapsed := at.Sub(before.at)
	switch {
	case !ok:
		c.last[key] = reading{at: at, nanos: nanos}
		return nil
	case elapsed < shortestSpan || nanos < before.nanos:
		return before.rate
	}
	rate := uint64(float64(nanos-before.nanos) / elapsed.Seconds())
	c.last[key] = reading{at: at, nanos: nanos, rate: &rate}
	return &rate
}

// forget drops readings of what is gone.
func (c *Collector) forget(before time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, r := range c.last {
		if r.at.Before(before) {
			delete(c.last, k)
		}
	}
}

// Summary is the answer of /stats/summary.
func (c *Collector) Summary(ctx context.Context) (*statsapi.Summary, error) {
	c.forget(time.Now().Add(-10 * time.Minute))
	node, err := c.node(ctx)
	if err != nil {
		return nil, err
	}
	pods, err := c.pods(ctx)
	if err != nil {
		return nil, err
	}
	return &statsapi.Summary{Node: node, Pods: pods}, nil
}

func (c *Collector) node(ctx context.Context) (statsapi.NodeStats, error) {
	cpu, err := machineCPU()
	if err != nil {
		return statsapi.NodeStats{}, err
	}
	now := time.Now()
	memory, err := machineMemory(now)
	if err != nil {
		return statsapi.NodeStats{}, err
	}
	out := statsapi.NodeStats{
		NodeName: c.NodeName, StartTime: metav1.NewTime(bootTime()),
		CPU:    &statsapi.CPUStats{Time: metav1.NewTime(now), UsageCoreNanoSeconds: &cpu, UsageNanoCores: c.rate("node", now, cpu)},
		Memory: memory,
		Fs:     fsStats(c.RootDir, now),
	}
	if res, err := c.Images.ImageFsInfo(ctx, &runtimev1.ImageFsInfoRequest{}); err == nil && len(res.ImageFilesystems) > 0 {
		fs := res.ImageFilesystems[0]
		image := fsStats(fs.GetFsId().GetMountpoint(), now)
		if image != nil {
			used := fs.GetUsedBytes().GetValue()
			image.UsedBytes = &used
			out.Runtime = &statsapi.RuntimeStats{ImageFs: image}
		}
	}
	return out, nil
}

func (c *Collector) pods(ctx context.Context) ([]statsapi.PodStats, error) {
	list, err := c.CRI.ListContainerStats(ctx, &runtimev1.ListContainerStatsRequest{})
	if err != nil {
		return nil, fmt.Errorf("measuring containers: %w", err)
	}
	byPod := map[string][]*runtimev1.ContainerStats{}
	for _, s := range list.Stats {
		uid := kubelettypes.GetPodUID(s.GetAttributes().GetLabels())
		byPod[uid] = append(byPod[uid], s)
	}
	out := []statsapi.PodStats{}
	for _, v := range c.Pods.Views() {
		p := v.Pod()
		if _, up := v.SandboxID(); !up {
			continue
		}
		s := statsapi.PodStats{
			PodRef:    statsapi.PodReference{Name: p.Name, Namespace: p.Namespace, UID: string(p.UID)},
			StartTime: p.CreationTimestamp,
		}
		if p.Status.StartTime != nil {
			s.StartTime = *p.Status.StartTime
		}
		running := map[string]time.Time{}
		for _, r := range v.Running() {
			running[r.ID] = r.StartedAt
		}
		for _, cs := range byPod[string(p.UID)] {
			if started, ok := running[cs.GetAttributes().GetId()]; ok {
				s.Containers = append(s.Containers, c.container(cs, started))
			}
		}
		if u, err := c.Cgroups.PodUsage(string(p.UID)); err == nil {
			s.CPU, s.Memory = c.cpuAndMemory("pod/"+string(p.UID), u)
			if u.Processes > 0 {
				s.ProcessStats = &statsapi.ProcessStats{ProcessCount: &u.Processes}
			}
		}
		if !p.Spec.HostNetwork {
			s.Network = c.network(string(p.UID))
		}
		out = append(out, s)
	}
	return out, nil
}

func (c *Collector) cpuAndMemory(key string, u cgroup.Usage) (*statsapi.CPUStats, *statsapi.MemoryStats) {
	at := metav1.NewTime(u.Time)
	memory := &statsapi.MemoryStats{
		Time: at, UsageBytes: &u.Memory, WorkingSetBytes: &u.WorkingSet, RSSBytes: &u.RSS,
		PageFaults: &u.PageFaults, MajorPageFaults: &u.MajorFaults,
	}
	if u.Limit > 0 {
		available := u.Limit - min(u.WorkingSet, u.Limit)
		memory.AvailableBytes = &available
	}
	return &statsapi.CPUStats{Time: at, UsageCoreNanoSeconds: &u.CPUNanos, UsageNanoCores: c.rate(key, u.Time, u.CPUNanos)}, memory
}

func (c *Collector) container(s *runtimev1.ContainerStats, started time.Time) statsapi.ContainerStats {
	out := statsapi.ContainerStats{Name: s.GetAttributes().GetMetadata().GetName(), StartTime: metav1.NewTime(started)}
	if cpu := s.GetCpu(); cpu != nil {
		at := time.Unix(0, cpu.Timestamp)
		nanos := cpu.GetUsageCoreNanoSeconds().GetValue()
		out.CPU = &statsapi.CPUStats{Time: metav1.NewTime(at), UsageCoreNanoSeconds: &nanos, UsageNanoCores: c.rate("container/"+s.GetAttributes().GetId(), at, nanos)}
	}
	if m := s.GetMemory(); m != nil {
		out.Memory = &statsapi.MemoryStats{
			Time: metav1.NewTime(time.Unix(0, m.Timestamp)), UsageBytes: value(m.UsageBytes), WorkingSetBytes: value(m.WorkingSetBytes),
			RSSBytes: value(m.RssBytes), AvailableBytes: positive(m.AvailableBytes), PageFaults: value(m.PageFaults), MajorPageFaults: value(m.MajorPageFaults),
		}
	}
	if fs := s.GetWritableLayer(); fs != nil && fs.Timestamp > 0 {
		out.Rootfs = &statsapi.FsStats{Time: metav1.NewTime(time.Unix(0, fs.Timestamp)), UsedBytes: value(fs.UsedBytes), InodesUsed: value(fs.InodesUsed)}
	}
	return out
}

func value(v *runtimev1.UInt64Value) *uint64 {
	if v == nil {
		return nil
	}
	return &v.Value
}

// network reads the pod's interfaces through one of its processes.
func (c *Collector) network(uid string) *statsapi.NetworkStats {
	pid, ok := c.Cgroups.PodProcess(uid)
	if !ok {
		return nil
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil {
		return nil
	}
	out := &statsapi.NetworkStats{Time: metav1.Now(), Interfaces: parseNetDev(string(data))}
	for _, i := range out.Interfaces {
		if out.Name == "" || i.Name == defaultInterface {
			out.InterfaceStats = i
		}
	}
	return out
}

const defaultInterface = "eth0"

// positive is value, where the runtime says 0 for unlimited.
func positive(v *runtimev1.UInt64Value) *uint64 {
	if v.GetValue() == 0 {
		return nil
	}
	return &v.Value
}

// parseNetDev reads /proc/net/dev, whose columns are eight for what came in
// (bytes, packets, errors, ...) and eight for what went out.
func parseNetDev(text string) []statsapi.InterfaceStats {
	var out []statsapi.InterfaceStats
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		fields := strings.Fields(rest)
		if !ok || name == "lo" || len(fields) < 16 {
			continue
		}
		number := func(i int) *uint64 {
			n, err := strconv.ParseUint(fields[i], 10, 64)
			if err != nil {
				return nil
			}
			return &n
		}
		out = append(out, statsapi.InterfaceStats{Name: name, RxBytes: number(0), RxErrors: number(2), TxBytes: number(8), TxErrors: number(10)})
	}
	return out
}

// machineCPU is the CPU time of all processors since boot, in nanoseconds.
func machineCPU() (uint64, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("measuring CPU: %w", err)
	}
	first, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(first)
	const tick = uint64(time.Second) / 100 // USER_HZ is 100 everywhere
	var busy uint64
	for i, f := range fields {
		// user nice system idle iowait irq softirq steal; guest time is part
		// of user time.
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("measuring CPU: %w", err)
		}
		busy += n
	}
	return busy * tick, nil
}

func machineMemory(now time.Time) (*statsapi.MemoryStats, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil, fmt.Errorf("measuring memory: %w", err)
	}
	v := map[string]uint64{}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) >= 2 {
			if n, err := strconv.ParseUint(f[1], 10, 64); err == nil {
				v[strings.TrimSuffix(f[0], ":")] = n << 10
			}
		}
	}
	usage := v["MemTotal"] - v["MemFree"]
	working := usage - min(v["Inactive(file)"], usage)
	available := v["MemTotal"] - min(working, v["MemTotal"])
	rss := v["AnonPages"]
	return &statsapi.MemoryStats{Time: metav1.NewTime(now), UsageBytes: &usage, WorkingSetBytes: &working, AvailableBytes: &available, RSSBytes: &rss}, nil
}

func bootTime() time.Time {
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}
	}
	up, _, _ := strings.Cut(string(data), " ")
	seconds, err := strconv.ParseFloat(up, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(seconds * float64(time.Second))).Truncate(time.Second)
}

func fsStats(path string, now time.Time) *statsapi.FsStats {
	var fs unix.Statfs_t
	if unix.Statfs(path, &fs) != nil {
		return nil
	}
	size := uint64(fs.Bsize)
	capacity, available := fs.Blocks*size, fs.Bavail*size
	used := (fs.Blocks - fs.Bfree) * size
	inodes, free := fs.Files, fs.Ffree
	inodesUsed := inodes - free
	return &statsapi.FsStats{
		Time: metav1.NewTime(now), CapacityBytes: &capacity, AvailableBytes: &available, UsedBytes: &used,
		Inodes: &inodes, InodesFree: &free, InodesUsed: &inodesUsed,
	}
}
