package probe

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Kind is what a probe asks.
type Kind string

// The kinds, spelled as events spell them.
const (
	Liveness  Kind = "Liveness"
	Readiness Kind = "Readiness"
	Startup   Kind = "Startup"
)

// Result is the answer of one probe, or of a run of them.
type Result int

// Unknown counts as neither: a probe that could not be carried out.
const (
	Unknown Result = iota
	Success
	Failure
)

// Target is a running container.
type Target struct {
	Pod         *corev1.Pod
	Container   *corev1.Container
	ContainerID string
	StartedAt   time.Time
	PodIP       string
	// WasReady and WasStarted are what the API last said of this very
	// container, so that a restart of the agent changes nothing.
	WasReady, WasStarted bool
	// Terminating pods are asked for readiness only.
	Terminating bool
}

// Runner carries out one probe.
type Runner interface {
	Run(ctx context.Context, p *corev1.Probe, t Target) (Result, string, error)
}

// Observer hears of probes. Changed is called after a result changed,
// Unhealthy after each probe that failed.
type Observer interface {
	Changed(pod types.UID)
	Unhealthy(t Target, k Kind, result Result, message string)
}

// Manager runs all probes of the node.
type Manager struct {
	ctx      context.Context //nolint:containedctx // probes outlive the call that starts them
	runner   Runner
	observer Observer

	mu         sync.RWMutex // guards the maps and the results in them
	containers map[string]*probed
	byPod      map[types.UID]map[string]*probed
}

type probed struct {
	target  Target
	cancel  context.CancelFunc
	stop    map[Kind]context.CancelFunc
	results map[Kind]Result
}

// NewManager makes a manager whose probes end with ctx.
func NewManager(ctx context.Context, runner Runner, observer Observer) *Manager {
	return &Manager{
		ctx: ctx, runner: runner, observer: observer,
		containers: map[string]*probed{}, byPod: map[types.UID]map[string]*probed{},
	}
}

// Sync makes the probes of a pod match its running containers.
func (m *Manager) Sync(pod types.UID, running []Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.byPod[pod]
	want := map[string]bool{}
	for _, t := range running {
		want[t.ContainerID] = true
		if p := known[t.ContainerID]; p != nil {
			if t.Terminating {
				p.silence()
			}
			continue
		}
		if !hasProbe(t.Container) {
			continue
		}
		if known == nil {
			known = map[string]*probed{}
			m.byPod[pod] = known
		}
		known[t.ContainerID] = m.startLocked(t)
	}
	for id, p := range known {
		if !want[id] {
			p.cancel()
			delete(known, id)
			delete(m.containers, id)
		}
	}
	if len(known) == 0 {
		delete(m.byPod, pod)
	}
}

func hasProbe(c *corev1.Container) bool {
	return c.LivenessProbe != nil || c.ReadinessProbe != nil || c.StartupProbe != nil
}

// silence ends what would restart the container.
func (p *probed) silence() {
	for _, k := range []Kind{Liveness, Startup} {
		if stop := p.stop[k]; stop != nil {
			stop()
		}
	}
}

func (m *Manager) startLocked(t Target) *probed {
	ctx, cancel := context.WithCancel(m.ctx)
	p := &probed{target: t, cancel: cancel, stop: map[Kind]context.CancelFunc{}, results: map[Kind]Result{}}
	m.containers[t.ContainerID] = p
	if t.Container.ReadinessProbe != nil {
		p.results[Readiness] = Failure
		if t.WasReady {
			p.results[Readiness] = Success
		}
	}
	if t.Container.LivenessProbe != nil {
		p.results[Liveness] = Success
	}
	if t.Container.StartupProbe != nil && !t.WasStarted && !t.Terminating {
		p.results[Startup] = Unknown
		m.launchLocked(ctx, p, Startup, t.Container.StartupProbe, func() { m.launchOthers(ctx, p) })
		return p
	}
	if t.Container.StartupProbe != nil {
		p.results[Startup] = Success
	}
	m.launchOthersLocked(ctx, p)
	return p
}

func (m *Manager) launchOthers(ctx context.Context, p *probed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.launchOthersLocked(ctx, p)
}

func (m *Manager) launchOthersLocked(ctx context.Context, p *probed) {
	c := p.target.Container
	if c.LivenessProbe != nil && !p.target.Terminating {
		m.launchLocked(ctx, p, Liveness, c.LivenessProbe, nil)
	}
	if c.ReadinessProbe != nil {
		m.launchLocked(ctx, p, Readiness, c.ReadinessProbe, nil)
	}
}

func (m *Manager) launchLocked(ctx context.Context, p *probed, k Kind, spec *corev1.Probe, onSuccess func()) {
	ctx, stop := context.WithCancel(ctx)
	p.stop[k] = stop
	w := &worker{kind: k, spec: spec, target: p.target, runner: m.runner, observer: m.observer}
	w.report = func(r Result) bool {
		if !m.set(p, k, r) {
			return false
		}
		if r == Success && onSuccess != nil {
			onSuccess()
		}
		m.observer.Changed(p.target.Pod.UID)
		return true
	}
	go w.run(ctx, p.results[k])
}

// set stores a result and tells whether it is news.
func (m *Manager) set(p *probed, k Kind, r Result) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.results[k] == r {
		return false
	}
	p.results[k] = r
	return true
}

// Result is the standing answer for a container; false if there is no such
// probe or the container is not known to run.
func (m *Manager) Result(containerID string, k Kind) (Result, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p := m.containers[containerID]
	if p == nil {
		return Unknown, false
	}
	r, ok := p.results[k]
	return r, ok
}
