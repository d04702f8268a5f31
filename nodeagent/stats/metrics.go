package stats

import (
	"context"
	"fmt"
	"io"
	"time"

	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// WriteResource writes /metrics/resource, which metrics-server reads.
func (c *Collector) WriteResource(ctx context.Context, w io.Writer) error {
	s, err := c.Summary(ctx)
	if err != nil {
		return err
	}
	p := &printer{w: w}
	p.head("container_cpu_usage_seconds_total", "counter", "[STABLE] Cumulative cpu time consumed by the container in core-seconds")
	eachContainer(s, func(labels string, cs *statsapi.ContainerStats) {
		p.cpu("container_cpu_usage_seconds_total", labels, cs.CPU)
	})
	p.head("container_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the container in bytes")
	eachContainer(s, func(labels string, cs *statsapi.ContainerStats) {
		p.memory("container_memory_working_set_bytes", labels, cs.Memory)
	})
	p.head("container_start_time_seconds", "gauge", "[STABLE] Start time of the container since unix epoch in seconds")
	eachContainer(s, func(labels string, cs *statsapi.ContainerStats) {
		p.line("container_start_time_seconds", labels, float64(cs.StartTime.UnixNano())/1e9, time.Time{})
	})
	p.head("node_cpu_usage_seconds_total", "counter", "[STABLE] Cumulative cpu time consumed by the node in core-seconds")
	p.cpu("node_cpu_usage_seconds_total", "", s.Node.CPU)
	p.head("node_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the node in bytes")
	p.memory("node_memory_working_set_bytes", "", s.Node.Memory)
	p.head("pod_cpu_usage_seconds_total", "counter", "[STABLE] Cumulative cpu time consumed by the pod in core-seconds")
	eachPod(s, func(labels string, ps *statsapi.PodStats) { p.cpu("pod_cpu_usage_seconds_total", labels, ps.CPU) })
	p.head("pod_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the pod in bytes")
	eachPod(s, func(labels string, ps *statsapi.PodStats) {
		p.memory("pod_memory_working_set_bytes", labels, ps.Memory)
	})
	p.head("resource_scrape_error", "gauge", "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise")
	p.line("resource_scrape_error", "", 0, time.Time{})
	return p.err
}

// WriteCadvisor writes the part of /metrics/cadvisor that dashboards use.
func (c *Collector) WriteCadvisor(ctx context.Context, w io.Writer) error {
	s, err := c.Summary(ctx)
	if err != nil {
		return err
	}
	p := &printer{w: w}
	p.head("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.")
	eachContainer(s, func(labels string, cs *statsapi.ContainerStats) {
		p.cpu("container_cpu_usage_seconds_total", labels, cs.CPU)
	})
	p.head("container_memory_usage_bytes", "gauge", "Current memory usage in bytes, including all memory regardless of when it was accessed")
	eachContainer(s, func(labels string, cs *statsapi.ContainerStats) {
		if cs.Memory != nil && cs.Memory.UsageBytes != nil {
			p.line("container_memory_usage_bytes", labels, float64(*cs.Memory.UsageBytes), cs.Memory.Time.Time)
		}
	})
	p.head("container_memory_working_set_bytes", "gauge", "Current working set in bytes.")
	eachContainer(s, func(labels string, cs *statsapi.ContainerStats) {
		p.memory("container_memory_working_set_bytes", labels, cs.Memory)
	})
	for _, n := range []struct {
		name, help string
		value      func(*statsapi.NetworkStats) *uint64
	}{
		{"container_network_receive_bytes_total", "Cumulative count of bytes received", func(n *statsapi.NetworkStats) *uint64 { return n.RxBytes }},
		{"container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", func(n *statsapi.NetworkStats) *uint64 { return n.TxBytes }},
	} {
		p.head(n.name, "counter", n.help)
		eachPod(s, func(labels string, ps *statsapi.PodStats) {
			if ps.Network != nil && n.value(ps.Network) != nil {
				p.line(n.name, labels+`,interface="`+ps.Network.Name+`"`, float64(*n.value(ps.Network)), ps.Network.Time.Time)
			}
		})
	}
	return p.err
}

func eachContainer(s *statsapi.Summary, f func(labels string, cs *statsapi.ContainerStats)) {
	for i := range s.Pods {
		ref := s.Pods[i].PodRef
		for j := range s.Pods[i].Containers {
			cs := &s.Pods[i].Containers[j]
			f(fmt.Sprintf("container=%q,namespace=%q,pod=%q", cs.Name, ref.Namespace, ref.Name), cs)
		}
	}
}

func eachPod(s *statsapi.Summary, f func(labels string, ps *statsapi.PodStats)) {
	for i := range s.Pods {
		f(fmt.Sprintf("namespace=%q,pod=%q", s.Pods[i].PodRef.Namespace, s.Pods[i].PodRef.Name), &s.Pods[i])
	}
}

// printer writes metrics as text and keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) head(name, kind, help string) {
	p.printf("# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (p *printer) line(name, labels string, v float64, at time.Time) {
	if labels != "" {
		labels = "{" + labels + "}"
	}
	if at.IsZero() {
		p.printf("%s%s %v\n", name, labels, v)
		return
	}
	p.printf("%s%s %v %d\n", name, labels, v, at.UnixMilli())
}

func (p *printer) cpu(name, labels string, c *statsapi.CPUStats) {
	if c != nil && c.UsageCoreNanoSeconds != nil {
		p.line(name, labels, float64(*c.UsageCoreNanoSeconds)/1e9, c.Time.Time)
	}
}

func (p *printer) memory(name, labels string, m *statsapi.MemoryStats) {
	if m != nil && m.WorkingSetBytes != nil {
		p.line(name, labels, float64(*m.WorkingSetBytes), m.Time.Time)
	}
}
