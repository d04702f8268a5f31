package metricsapi

import (
	"math"
	"strings"
	"testing"
	"time"
)

const text = `# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="main",namespace="default",pod="web"} 12.5 1700000010000
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="main",namespace="default",pod="web"} 1.048576e+06 1700000010000
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="main",namespace="default",pod="web"} 1.7e+09
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 1000 1700000010000
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 2e+09 1700000010000
`

func TestParse(t *testing.T) {
	s, err := parse(strings.NewReader(text), time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(1700000010000)
	if s.node.cpu != 1000 || s.node.memory != 2e9 || !s.node.at.Equal(at) {
		t.Errorf("the node is %+v", s.node)
	}
	r := s.containers[containerID{"default", "web", "main"}]
	if r.cpu != 12.5 || r.memory != 1<<20 || !r.at.Equal(at) || r.started.Unix() != 1700000000 {
		t.Errorf("the container is %+v", r)
	}
	if _, err := parse(strings.NewReader("<html>"), at); err == nil {
		t.Error("what is no figure is accepted")
	}
}

func TestBetween(t *testing.T) {
	t0 := time.Unix(1700000000, 0)
	at := func(seconds float64, cpu float64) reading {
		return reading{at: t0.Add(time.Duration(seconds * 1e9)), cpu: cpu, memory: 7, started: t0, hasCPU: true}
	}
	for name, c := range map[string]struct {
		before, after reading
		known         bool
		cores         float64
		window        time.Duration
		ok            bool
	}{
		"two readings":                 {at(10, 5), at(25, 20), true, 1, 15 * time.Second, true},
		"only one, from its start":     {reading{}, at(10, 5), false, 0.5, 10 * time.Second, true},
		"it started anew":              {at(10, 100), at(20, 5), true, 0.25, 20 * time.Second, true},
		"the same reading again":       {at(10, 5), at(10, 5), true, 0, 0, false},
		"one that just began":          {reading{}, at(0.1, 1), false, 0, 0, false},
		"one without any use of a CPU": {at(10, 5), reading{at: t0, memory: 1}, true, 0, 0, false},
	} {
		u, ok := between(c.before, c.known, c.after)
		if ok != c.ok || ok && (math.Abs(u.cores-c.cores) > 1e-9 || u.window != c.window) {
			t.Errorf("%s: %+v, %v", name, u, ok)
		}
	}
}

func TestSameSampleTwiceKeepsTheOneBefore(t *testing.T) {
	t0 := time.Unix(1700000000, 0)
	s := func(seconds, cpu float64) *sample {
		return &sample{node: reading{at: t0.Add(time.Duration(seconds * 1e9)), cpu: cpu, hasCPU: true}}
	}
	p := pair{}.next(s(0, 0), t0).next(s(10, 10), t0).next(s(10, 10), t0)
	if u, ok := p.node(); !ok || u.cores != 1 || u.window != 10*time.Second {
		t.Errorf("after the same sample twice: %+v, %v", u, ok)
	}
}
