package lifecycle

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/nodeagent/spec"
)

// Health is what probes say of a running container.
type Health struct {
	// Started is false while a startup probe, or the container's postStart
	// hook, has not succeeded.
	Started bool
	Ready   bool
	// LivenessFailed and StartupFailed ask for a restart.
	LivenessFailed, StartupFailed bool
}

// Termination is the end of a pod, once it has been decided.
type Termination struct {
	// Since is when the pod's grace period began.
	Since time.Time
	// GracePeriod in seconds.
	GracePeriod int64
	// Reason and Message go to the status if the node ended the pod.
	Reason, Message string
}

// Input is what a plan is made from.
type Input struct {
	Pod      *corev1.Pod
	Observed Observed
	Now      time.Time
	// Health by container id. A running container that is not in it has
	// started and is ready.
	Health map[string]Health
	// Backoffs by container name.
	Backoffs map[string]Backoff
	// NotBefore delays the start of a container after an error, by name.
	NotBefore map[string]time.Time
	// Replace holds ids of containers that were stopped in order to be
	// started again, whatever the restart policy says.
	Replace map[string]bool
	// Restart holds ids of running containers that have to be stopped in order
	// to be started again with other resources.
	Restart map[string]bool
	// Termination is set once the pod has to go.
	Termination *Termination
}

// Kill stops a container.
type Kill struct {
	Container Container
	// Message of the event.
	Message string
	// GracePeriod in seconds.
	GracePeriod int64
	// Replace means that a new instance is wanted.
	Replace bool
}

// Start makes a new instance of a container.
type Start struct {
	Name         string
	RestartCount int
	// After is the end of the instance before, for back-off; zero if there
	// was none.
	After time.Time
}

// Plan is what is to be done now. Kills may run at the same time; the rest is
// done in order: replacing the sandbox, making one, starting containers.
type Plan struct {
	Kill []Kill
	// StopSandboxes and NewSandbox replace or end the pod's sandbox. The
	// containers in it end first.
	StopSandboxes  bool
	NewSandbox     bool
	SandboxAttempt uint32
	// SandboxChanged tells that a sandbox was lost.
	SandboxChanged bool
	Start          []Start
	// Waiting are containers in crash back-off, by name.
	Waiting map[string]string
	// Finished means that the pod has come to its end by itself: nothing in
	// it will start again.
	Finished bool
	// Ended means that the runtime has nothing of the pod running.
	Ended bool
	// Wake is when the plan may change although nothing happens; zero means
	// never.
	Wake time.Time
}

type planner struct {
	Input
	plan    Plan
	sandbox Sandbox
	usable  bool
}

// Compute makes a plan.
func Compute(in Input) Plan {
	p := &planner{Input: in}
	p.plan.Waiting = map[string]string{}
	if in.Termination != nil {
		p.terminate()
		return p.plan
	}
	current, exists := in.Observed.Sandbox()
	p.sandbox = current
	p.usable = exists && current.Ready && current.HostNetwork == in.Pod.Spec.HostNetwork
	if !p.usable {
		p.newSandbox(exists)
		return p.plan
	}
	p.ephemerals()
	if p.inits() {
		p.apps()
	}
	return p.plan
}

// wake remembers the earliest time.
func (p *planner) wake(t time.Time) {
	if p.plan.Wake.IsZero() || t.Before(p.plan.Wake) {
		p.plan.Wake = t
	}
}

func (p *planner) newSandbox(lost bool) {
	var due []Start
	for i := range p.Pod.Spec.Containers {
		c := &p.Pod.Spec.Containers[i]
		last, ran := p.Observed.Newest(c.Name)
		if !ran || last.State != Exited || restarts(p.Pod, c, last.ExitCode) {
			due = append(due, p.start(c.Name))
		}
	}
	ranBefore := false
	for _, c := range p.Pod.Spec.Containers {
		_, ran := p.Observed.Newest(c.Name)
		ranBefore = ranBefore || ran
	}
	if lost && p.neverRestarts() && len(p.Observed.Containers) > 0 || len(due) == 0 && ranBefore {
		p.plan.Finished = true
		return
	}
	p.plan.NewSandbox = true
	if lost {
		p.plan.StopSandboxes, p.plan.SandboxChanged = true, true
		p.plan.SandboxAttempt = p.sandbox.Attempt + 1
	}
	if len(p.Pod.Spec.InitContainers) > 0 {
		due = []Start{p.start(p.Pod.Spec.InitContainers[0].Name)}
	}
	p.plan.Start = p.ripe(due)
}

// ripe leaves out what must wait after an error.
func (p *planner) ripe(in []Start) []Start {
	var out []Start
	for _, s := range in {
		if until, ok := p.NotBefore[s.Name]; ok && until.After(p.Now) {
			p.wake(until)
			continue
		}
		out = append(out, s)
	}
	return out
}

func (p *planner) neverRestarts() bool {
	if p.Pod.Spec.RestartPolicy != corev1.RestartPolicyNever {
		return false
	}
	for i := range p.Pod.Spec.Containers {
		c := &p.Pod.Spec.Containers[i]
		if policy(p.Pod, c) != corev1.RestartPolicyNever || len(c.RestartPolicyRules) > 0 {
			return false
		}
	}
	return true
}

// start is the next instance of a container.
func (p *planner) start(name string) Start {
	s := Start{Name: name}
	if last, ok := p.Observed.Newest(name); ok {
		s.After = last.FinishedAt
		s.RestartCount = last.RestartCount + 1
		if last.State == Created {
			s.RestartCount = last.RestartCount // it never ran
		}
		return s
	}
	if old := oldStatus(p.Pod, name); old != nil && old.ContainerID != "" {
		s.RestartCount = int(old.RestartCount) + 1
	}
	return s
}

// want starts a container unless it has to wait.
func (p *planner) want(name string) {
	s := p.start(name)
	if wait := p.Backoffs[name].Wait(s.After); !s.After.IsZero() && wait > 0 {
		if until := s.After.Add(wait); until.After(p.Now) {
			p.plan.Waiting[name] = backoffMessage(wait, p.Pod, name)
			p.wake(until)
			return
		}
	}
	p.plan.Start = append(p.plan.Start, p.ripe([]Start{s})...)
}

// current is a container's newest instance in the sandbox in use.
func (p *planner) current(name string) (Container, bool) {
	c, ok := p.Observed.Newest(name)
	return c, ok && c.SandboxID == p.sandbox.ID
}

func (p *planner) ephemerals() {
	for i := range p.Pod.Spec.EphemeralContainers {
		name := p.Pod.Spec.EphemeralContainers[i].Name
		if last, ok := p.current(name); !ok || last.State == Created {
			p.want(name)
		}
	}
}

// inits takes the init containers as far as they go and tells whether the
// app containers may start.
func (p *planner) inits() bool {
	initialized := p.initialized()
	for i := range p.Pod.Spec.InitContainers {
		c := &p.Pod.Spec.InitContainers[i]
		if spec.IsSidecar(c) {
			if !p.sidecar(c) && !initialized {
				return false
			}
			continue
		}
		if initialized {
			continue
		}
		last, ok := p.current(c.Name)
		switch {
		case !ok || last.State == Created || last.State == Unknown:
			p.want(c.Name)
			return false
		case last.State == Running:
			return false
		case last.ExitCode == 0:
		case initRestarts(p.Pod, c, last.ExitCode):
			p.want(c.Name)
			return false
		default:
			p.plan.Finished = true
			return false
		}
	}
	return true
}

// initialized tells whether an app container has been made in this sandbox.
func (p *planner) initialized() bool {
	for _, c := range p.Pod.Spec.Containers {
		if _, ok := p.current(c.Name); ok {
			return true
		}
	}
	return false
}

// sidecar keeps a sidecar running and tells whether it has started.
func (p *planner) sidecar(c *corev1.Container) bool {
	last, ok := p.current(c.Name)
	if !ok || last.State != Running {
		if p.appsOver() {
			return true // about to finish; not worth a restart
		}
		p.want(c.Name)
		return false
	}
	if p.unfit(c, last) {
		return false
	}
	h, probed := p.Health[last.ID]
	return !probed || h.Started
}

// unfit stops a running container that has to be replaced.
func (p *planner) unfit(c *corev1.Container, last Container) bool {
	h := p.Health[last.ID]
	var why string
	replace := policy(p.Pod, c) != corev1.RestartPolicyNever
	switch {
	case last.Hash != "" && last.Hash != spec.ContainerHash(c):
		why, replace = fmt.Sprintf("Container %s definition changed", c.Name), true
	case p.Restart[last.ID]:
		why, replace = fmt.Sprintf("Container %s resize requires restart", c.Name), true
	case h.LivenessFailed:
		why = fmt.Sprintf("Container %s failed liveness probe", c.Name)
	case h.StartupFailed:
		why = fmt.Sprintf("Container %s failed startup probe", c.Name)
	default:
		return false
	}
	if replace {
		why += ", will be restarted"
	}
	p.plan.Kill = append(p.plan.Kill, Kill{Container: last, Message: why, GracePeriod: probeGrace(p.Pod, c, h), Replace: replace})
	return true
}

// probeGrace is the pod's grace period unless the probe that failed has its
// own.
func probeGrace(pod *corev1.Pod, c *corev1.Container, h Health) int64 {
	probe := c.LivenessProbe
	if h.StartupFailed {
		probe = c.StartupProbe
	}
	if (h.LivenessFailed || h.StartupFailed) && probe != nil && probe.TerminationGracePeriodSeconds != nil {
		return *probe.TerminationGracePeriodSeconds
	}
	return spec.GracePeriod(pod)
}

// appsOver tells whether all app containers have ended for good.
func (p *planner) appsOver() bool {
	for i := range p.Pod.Spec.Containers {
		c := &p.Pod.Spec.Containers[i]
		last, ok := p.Observed.Newest(c.Name)
		if !ok || last.State != Exited || p.Replace[last.ID] || restarts(p.Pod, c, last.ExitCode) {
			return false
		}
	}
	return true
}

func (p *planner) apps() {
	for i := range p.Pod.Spec.Containers {
		c := &p.Pod.Spec.Containers[i]
		last, ok := p.Observed.Newest(c.Name)
		switch {
		case !ok || last.State == Created:
			p.want(c.Name)
		case last.State == Unknown:
			p.plan.Kill = append(p.plan.Kill, Kill{
				Container: last, Replace: true, GracePeriod: spec.GracePeriod(p.Pod),
				Message: fmt.Sprintf("Container is in %q state, try killing it before restart", "unknown"),
			})
		case last.State == Running:
			p.unfit(c, last)
		case p.Replace[last.ID] || restarts(p.Pod, c, last.ExitCode):
			p.want(c.Name)
		}
	}
	p.plan.Finished = len(p.Pod.Spec.Containers) > 0 && p.appsOver()
}

// terminate ends app containers at once, then sidecars from the last to the
// first, then the sandbox.
func (p *planner) terminate() {
	t := p.Termination
	deadline := t.Since.Add(time.Duration(t.GracePeriod) * time.Second)
	overdue := !p.Now.Before(deadline)
	remaining := max(int64(deadline.Sub(p.Now)/time.Second), 0)
	order := map[string]int{}
	for i := range p.Pod.Spec.InitContainers {
		if c := &p.Pod.Spec.InitContainers[i]; spec.IsSidecar(c) {
			order[c.Name] = i + 1
		}
	}
	running := p.Observed.Running()
	last := 0 // the sidecar whose turn it is
	mains := 0
	for _, c := range running {
		if order[c.Name] == 0 {
			mains++
		}
		last = max(last, order[c.Name])
	}
	for _, c := range running {
		turn := order[c.Name] == 0 || (mains == 0 && order[c.Name] == last)
		if turn || overdue {
			p.plan.Kill = append(p.plan.Kill, Kill{Container: c, Message: "Stopping container " + c.Name, GracePeriod: remaining})
		}
	}
	if len(running) > len(p.plan.Kill) {
		p.wake(deadline)
	}
	if len(running) > 0 {
		return
	}
	p.plan.Ended = true
	for _, s := range p.Observed.Sandboxes {
		if s.Ready {
			p.plan.StopSandboxes, p.plan.Ended = true, false
		}
	}
}
