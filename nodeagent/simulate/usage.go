package simulate

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// What a container uses that neither says so nor requests anything.
var (
	littleCPU    = resource.MustParse("10m")
	littleMemory = resource.MustParse("32Mi")
)

// usage is what one container uses while it runs.
func usage(pod *corev1.Pod, c *corev1.Container) (cores float64, memory int64) {
	pick := func(key string, name corev1.ResourceName, otherwise resource.Quantity) resource.Quantity {
		if q, err := resource.ParseQuantity(annotation(pod, key, c.Name)); err == nil {
			return q
		}
		if q, ok := c.Resources.Requests[name]; ok {
			return q
		}
		return otherwise
	}
	cpu := pick(UsageCPU, corev1.ResourceCPU, littleCPU)
	ram := pick(UsageMemory, corev1.ResourceMemory, littleMemory)
	return cpu.AsApproximateFloat64(), ram.Value()
}

// measurement is a running container's use: of processors since the start of the simulation, and of memory now.
type measurement struct {
	pod     *corev1.Pod
	name    string
	started time.Time
	cores   float64
	spent   time.Duration // processor time
	memory  int64
}

// measure adds up what the containers of a node use. Processor time counts what a container spends now as
// if it had always done so, and never falls while that stays the same.
func (s *simulation) measure(n *node, now time.Time) []measurement {
	s.meter.forget(now)
	var out []measurement
	for _, pod := range s.podsOf(n) {
		for i := range pod.Spec.Containers {
			c := &pod.Spec.Containers[i]
			for _, status := range pod.Status.ContainerStatuses {
				if status.Name != c.Name || status.State.Running == nil {
					continue
				}
				m := measurement{pod: pod, name: c.Name, started: status.State.Running.StartedAt.Time}
				m.cores, m.memory = usage(pod, c)
				m.spent = s.meter.read(string(pod.UID)+"/"+c.Name, m.cores, m.started, now)
				out = append(out, m)
			}
		}
	}
	return out
}

// nodeSpent is the processor time of a node, which does not fall when a pod goes.
func (s *simulation) nodeSpent(n *node, cores float64, now time.Time) time.Duration {
	return s.meter.read(n.name, cores, s.begun, now)
}

func (s *simulation) summary(w http.ResponseWriter, r *http.Request) {
	now := s.Clock.Now()
	at := metav1.NewTime(now)
	out := statsapi.Summary{Node: statsapi.NodeStats{NodeName: s.nodeOf(r).name, StartTime: metav1.NewTime(s.begun)}, Pods: []statsapi.PodStats{}}
	var nano, memory uint64
	stats := func(spent, nano, memory uint64) (*statsapi.CPUStats, *statsapi.MemoryStats) {
		return &statsapi.CPUStats{Time: at, UsageCoreNanoSeconds: &spent, UsageNanoCores: &nano},
			&statsapi.MemoryStats{Time: at, UsageBytes: &memory, WorkingSetBytes: &memory, RSSBytes: &memory}
	}
	index := map[string]int{}
	for _, m := range s.measure(s.nodeOf(r), now) {
		i, known := index[string(m.pod.UID)]
		if !known {
			i = len(out.Pods)
			index[string(m.pod.UID)] = i
			out.Pods = append(out.Pods, statsapi.PodStats{
				PodRef: statsapi.PodReference{Name: m.pod.Name, Namespace: m.pod.Namespace, UID: string(m.pod.UID)}, StartTime: metav1.NewTime(m.started),
			})
			out.Pods[i].CPU, out.Pods[i].Memory = stats(0, 0, 0)
		}
		c := statsapi.ContainerStats{Name: m.name, StartTime: metav1.NewTime(m.started)}
		c.CPU, c.Memory = stats(uint64(m.spent), uint64(m.cores*1e9), uint64(m.memory))
		p := &out.Pods[i]
		p.Containers = append(p.Containers, c)
		p.CPU, p.Memory = stats(*p.CPU.UsageCoreNanoSeconds+uint64(m.spent), *p.CPU.UsageNanoCores+uint64(m.cores*1e9), *p.Memory.UsageBytes+uint64(m.memory))
		nano, memory = nano+uint64(m.cores*1e9), memory+uint64(m.memory)
	}
	out.Node.CPU, out.Node.Memory = stats(uint64(s.nodeSpent(s.nodeOf(r), float64(nano)/1e9, now)), nano, memory)
	writeJSON(w, r, out)
}

// resourceMetrics writes what metrics servers read.
func (s *simulation) resourceMetrics(w http.ResponseWriter, r *http.Request) {
	now := s.Clock.Now()
	at := now.UnixMilli()
	all := s.measure(s.nodeOf(r), now)
	var b strings.Builder
	series := func(name, kind, help string, value func(measurement) float64) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		for _, m := range all {
			fmt.Fprintf(&b, "%s{container=%q,namespace=%q,pod=%q} %v %d\n", name, m.name, m.pod.Namespace, m.pod.Name, value(m), at)
		}
	}
	var cores, memory float64
	for _, m := range all {
		cores, memory = cores+m.cores, memory+float64(m.memory)
	}
	series("container_cpu_usage_seconds_total", "counter", "[STABLE] Cumulative cpu time consumed by the container in core-seconds", func(m measurement) float64 { return m.spent.Seconds() })
	series("container_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the container in bytes", func(m measurement) float64 { return float64(m.memory) })
	series("container_start_time_seconds", "gauge", "[STABLE] Start time of the container since unix epoch in seconds", func(m measurement) float64 { return float64(m.started.UnixNano()) / 1e9 })
	node := s.nodeSpent(s.nodeOf(r), cores, now)
	fmt.Fprintf(&b, "# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total %v %d\n", node.Seconds(), at)
	fmt.Fprintf(&b, "# TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes %v %d\n", memory, at)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = w.Write([]byte(b.String()))
}
