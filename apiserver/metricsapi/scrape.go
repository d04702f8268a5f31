package metricsapi

import (
	"fmt"
	"io"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// The series of a node agent that are looked at.
const (
	nodeCPU         = "node_cpu_usage_seconds_total"
	nodeMemory      = "node_memory_working_set_bytes"
	containerCPU    = "container_cpu_usage_seconds_total"
	containerMemory = "container_memory_working_set_bytes"
	containerStart  = "container_start_time_seconds"
)

// containerID names a container of a pod.
type containerID struct{ namespace, pod, name string }

// reading is what one thing has used until a moment.
type reading struct {
	at      time.Time
	cpu     float64 // seconds, ever growing
	memory  float64 // bytes
	started time.Time
	hasCPU  bool
}

// sample is what a node agent says at one time.
type sample struct {
	node       reading
	containers map[containerID]reading
}

// parse reads the text of /metrics/resource. What has no time of its own was measured when it was asked for.
func parse(text io.Reader, asked time.Time) (*sample, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return nil, fmt.Errorf("reading the agent's figures: %w", err)
	}
	s := &sample{containers: map[containerID]reading{}}
	for _, m := range families[nodeCPU].GetMetric() {
		s.node.at, s.node.cpu, s.node.hasCPU = timeOf(m, asked), valueOf(m), true
	}
	for _, m := range families[nodeMemory].GetMetric() {
		s.node.memory = valueOf(m)
	}
	each := func(name string, set func(*reading, *dto.Metric)) {
		for _, m := range families[name].GetMetric() {
			id := idOf(m)
			r := s.containers[id]
			set(&r, m)
			s.containers[id] = r
		}
	}
	each(containerCPU, func(r *reading, m *dto.Metric) { r.at, r.cpu, r.hasCPU = timeOf(m, asked), valueOf(m), true })
	each(containerMemory, func(r *reading, m *dto.Metric) { r.memory = valueOf(m) })
	each(containerStart, func(r *reading, m *dto.Metric) { r.started = time.UnixMilli(int64(valueOf(m) * 1000)) })
	return s, nil
}

func idOf(m *dto.Metric) (id containerID) {
	for _, l := range m.GetLabel() {
		switch l.GetName() {
		case "namespace":
			id.namespace = l.GetValue()
		case "pod":
			id.pod = l.GetValue()
		case "container":
			id.name = l.GetValue()
		}
	}
	return id
}

func timeOf(m *dto.Metric, otherwise time.Time) time.Time {
	if m.TimestampMs == nil {
		return otherwise
	}
	return time.UnixMilli(m.GetTimestampMs())
}

func valueOf(m *dto.Metric) float64 {
	switch {
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	case m.GetGauge() != nil:
		return m.GetGauge().GetValue()
	}
	return m.GetUntyped().GetValue()
}

// usage is what something uses: cores and bytes, measured over the window that ends at a time.
type usage struct {
	at     time.Time
	window time.Duration
	cores  float64
	memory float64
}

// shortest is the least time over which use of CPU is measured: readings that are closer say nothing.
const shortest = 500 * time.Millisecond

// between is what was used between two readings.
func between(before reading, known bool, after reading) (usage, bool) {
	if !after.hasCPU {
		return usage{}, false
	}
	from, spent := before.at, after.cpu-before.cpu
	if !known || !before.hasCPU || spent < 0 || after.started.After(before.at) {
		if after.started.IsZero() {
			return usage{}, false
		}
		from, spent = after.started, after.cpu // it began after the reading before
	}
	window := after.at.Sub(from)
	if window < shortest {
		return usage{}, false
	}
	return usage{at: after.at, window: window, cores: spent / window.Seconds(), memory: after.memory}, true
}

// pair are the last two samples of a node.
type pair struct {
	before, after *sample
	round         time.Time // when the later one was asked for
}

// next is the pair after one more sample. Agents that measure seldom may say the same again.
func (p pair) next(s *sample, round time.Time) pair {
	if p.after != nil && s.node.at.Sub(p.after.node.at) < shortest {
		return pair{p.before, s, round}
	}
	return pair{p.after, s, round}
}

func (p pair) node() (usage, bool) {
	if p.after == nil || p.before == nil {
		return usage{}, false
	}
	return between(p.before.node, true, p.after.node)
}

func (p pair) container(id containerID) (usage, bool) {
	if p.after == nil {
		return usage{}, false
	}
	after, running := p.after.containers[id]
	if !running {
		return usage{}, false
	}
	if p.before == nil {
		return between(reading{}, false, after)
	}
	before, known := p.before.containers[id]
	return between(before, known, after)
}
