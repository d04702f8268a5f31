package pod

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/nodeagent/lifecycle"
	"coracle.dev/coracle/nodeagent/probe"
	"coracle.dev/coracle/nodeagent/spec"
)

// sync does what is due and tells when to look again by itself.
func (w *worker) sync(now time.Time) time.Time {
	if !w.known && !w.askRuntime() {
		return now.Add(time.Second)
	}
	w.decideEnd(now)
	w.resize(now)
	in := w.input(now)
	plan := lifecycle.Compute(in)
	if plan.Finished && w.termination == nil {
		w.terminate(now, spec.GracePeriod(w.pod), "", "")
		in.Termination = w.termination
		plan = lifecycle.Compute(in)
	}
	w.probe()
	w.report(in, plan)
	w.act(now, plan)
	return w.nextWake(now, plan)
}

// askRuntime learns what an earlier agent process may have left running, once,
// before anything is started.
func (w *worker) askRuntime() bool {
	r, err := w.m.listPod(w.ctx, w.pod.UID)
	if err != nil {
		return false
	}
	w.listed(r)
	ended := w.pod.Status.Phase == corev1.PodFailed || w.pod.Status.Phase == corev1.PodSucceeded
	w.settled = w.settled || (ended && len(w.obs.Running()) == 0 && w.termination == nil)
	return true
}

// decideEnd finds out whether the pod has to go.
func (w *worker) decideEnd(now time.Time) {
	switch {
	case w.removed:
		w.terminate(now, w.removalGrace(), "", "")
	case w.pod.DeletionTimestamp != nil:
		grace := spec.GracePeriod(w.pod)
		if w.pod.DeletionGracePeriodSeconds != nil {
			grace = *w.pod.DeletionGracePeriodSeconds
		}
		w.terminate(now, grace, "", "")
	case w.pod.Status.Phase == corev1.PodFailed || w.pod.Status.Phase == corev1.PodSucceeded:
		w.terminate(now, spec.GracePeriod(w.pod), "", "")
	case !w.admitted && w.termination == nil:
		w.admit(now)
	}
	if deadline, ok := w.deadline(); ok && w.termination == nil && !now.Before(deadline) {
		message := "Pod was active on the node longer than the specified deadline"
		w.m.ContainerEvent(w.pod, "", corev1.EventTypeNormal, ReasonDeadline, message)
		w.terminate(now, spec.GracePeriod(w.pod), ReasonDeadline, message)
	}
}

// admit asks once whether the node takes a pod. What runs already stays.
func (w *worker) admit(now time.Time) {
	w.admitted = true
	if w.m.Admit == nil || len(w.obs.Containers) > 0 || len(w.pod.Status.ContainerStatuses) > 0 {
		return
	}
	if reason, message, ok := w.m.Admit(w.pod, w.m.others(w.pod.UID)); !ok {
		w.m.ContainerEvent(w.pod, "", corev1.EventTypeWarning, reason, message)
		w.terminate(now, 0, reason, "Pod was rejected: "+message)
	}
}

// removalGrace is how long a pod may take that is gone from the API server.
func (w *worker) removalGrace() int64 {
	if w.pod.DeletionGracePeriodSeconds != nil {
		return *w.pod.DeletionGracePeriodSeconds
	}
	grace := spec.GracePeriod(w.pod)
	if w.pod.ResourceVersion == "" {
		grace = 30
		for _, c := range w.obs.Containers {
			if c.GracePeriod >= 0 {
				grace = c.GracePeriod
			}
		}
	}
	return grace
}

func (w *worker) deadline() (time.Time, bool) {
	s := w.pod.Spec.ActiveDeadlineSeconds
	if s == nil || w.pod.Status.StartTime == nil {
		return time.Time{}, false
	}
	// The start is known to the second; the pod gets what it may have lost.
	return w.pod.Status.StartTime.Add(time.Duration(*s+1) * time.Second), true
}

// terminate begins the pod's end, or makes it come sooner.
func (w *worker) terminate(now time.Time, grace int64, reason, message string) {
	if w.termination != nil {
		if grace < w.termination.GracePeriod {
			w.termination.GracePeriod, w.termination.Since = grace, now
		}
		return
	}
	w.termination = &lifecycle.Termination{Since: now, GracePeriod: grace, Reason: reason, Message: message}
	if w.launching != nil {
		w.launching()
	}
}

func (w *worker) input(now time.Time) lifecycle.Input {
	in := lifecycle.Input{
		Pod: w.pod, Observed: w.obs, Now: now, Health: map[string]lifecycle.Health{},
		Backoffs: w.backoffs, NotBefore: w.notBefore, Replace: w.replace, Restart: w.resizing.restart, Termination: w.termination,
	}
	for id, c := range w.obs.Containers {
		if c.State == lifecycle.Running {
			in.Health[id] = w.health(id, spec.FindContainer(w.pod, c.Name))
		}
	}
	return in
}

// health gathers what the probes and the hooks say.
func (w *worker) health(id string, c *corev1.Container) lifecycle.Health {
	h := lifecycle.Health{Started: true, Ready: true}
	if c == nil {
		return h
	}
	h.Started = !w.hooking[c.Name]
	if c.StartupProbe != nil {
		r, known := w.m.probes.Result(id, probe.Startup)
		h.Started = h.Started && known && r == probe.Success
		h.StartupFailed = known && r == probe.Failure
	}
	if c.LivenessProbe != nil {
		r, known := w.m.probes.Result(id, probe.Liveness)
		h.LivenessFailed = known && r == probe.Failure
	}
	if c.ReadinessProbe != nil {
		r, known := w.m.probes.Result(id, probe.Readiness)
		h.Ready = known && r == probe.Success
	}
	return h
}

// act starts the operations of a plan.
func (w *worker) act(now time.Time, plan lifecycle.Plan) {
	for _, k := range plan.Kill {
		w.kill(now, k)
	}
	w.noteBackoff(plan)
	switch {
	case w.launching != nil || w.finishing || w.cleaned:
	case w.termination != nil:
		if len(w.obs.Running()) == 0 && len(w.kills) == 0 && !now.Before(w.finishAfter) {
			w.finish(plan)
		}
	case !w.volumesReady && len(w.obs.Running()) > 0 && !w.refreshing:
		w.refresh() // taken over from an earlier process
	case (plan.NewSandbox || len(plan.Start) > 0) && !now.Before(w.launchAfter):
		ctx, cancel := context.WithCancel(w.ctx)
		w.launching = cancel
		l := w.newLaunch(plan)
		go l.run(ctx)
	}
}

// noteBackoff records an event when a container enters crash back-off.
func (w *worker) noteBackoff(plan lifecycle.Plan) {
	for name := range plan.Waiting {
		last, _ := w.obs.Newest(name)
		if w.backedOff[name] != last.ID {
			w.backedOff[name] = last.ID
			w.m.ContainerEvent(w.pod, name, corev1.EventTypeWarning, ReasonBackOff, "Back-off restarting failed container "+
				name+" in pod "+spec.Describe(w.pod))
		}
	}
}

// probe makes the probes match what runs.
func (w *worker) probe() {
	var targets []probe.Target
	sandbox, _ := w.obs.Sandbox()
	ips := sandbox.IPs
	if w.pod.Spec.HostNetwork {
		ips = w.m.HostIPs
	}
	for _, c := range w.obs.Containers {
		definition := spec.FindContainer(w.pod, c.Name)
		if c.State != lifecycle.Running || definition == nil || len(ips) == 0 || w.removed {
			continue
		}
		t := probe.Target{Pod: w.pod, Container: definition, ContainerID: c.ID, StartedAt: c.StartedAt, PodIP: ips[0], Terminating: w.termination != nil}
		if s := statusOf(w.pod, c.Name); s != nil && s.ContainerID == "containerd://"+c.ID {
			t.WasReady, t.WasStarted = s.Ready, s.Started != nil && *s.Started
		}
		targets = append(targets, t)
	}
	w.m.probes.Sync(w.pod.UID, targets)
}

func statusOf(pod *corev1.Pod, name string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// report computes the status, shows it to the agent's own API and has it
// written.
func (w *worker) report(in lifecycle.Input, plan lifecycle.Plan) {
	if w.settled {
		w.view.Store(newView(w.pod, w.obs))
		return
	}
	in.Health = w.input(in.Now).Health
	status := lifecycle.Status(lifecycle.StatusInput{
		Input: in, Plan: plan, HostIPs: w.m.HostIPs, Errors: w.errors,
		Resize: w.resizing.state, Actual: w.resizing.actual,
		Over: w.termination != nil && len(w.obs.Running()) == 0 && w.launching == nil,
	})
	next := *w.pod
	next.Status = status
	w.pod = &next
	w.view.Store(newView(&next, w.obs))
	if !w.removed && !w.orphan {
		w.writer.submit(&next)
	}
}

func (w *worker) nextWake(now time.Time, plan lifecycle.Plan) time.Time {
	var next time.Time
	consider := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	consider(plan.Wake)
	if w.launchAfter.After(now) {
		consider(w.launchAfter)
	}
	if w.resizing.after.After(now) {
		consider(w.resizing.after)
	}
	if w.finishAfter.After(now) {
		consider(w.finishAfter)
	}
	if w.termination == nil {
		if deadline, ok := w.deadline(); ok {
			consider(deadline)
		}
		if w.volumesReady && !w.refreshing {
			if t := w.m.Volumes.NextRefresh(w.pod.UID); !t.IsZero() {
				if !t.After(now) {
					w.refresh()
					t = now.Add(time.Minute)
				}
				consider(t)
			}
		}
	}
	return next
}
