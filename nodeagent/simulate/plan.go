package simulate

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// stage is what a container is in.
type stage int

const (
	waiting stage = iota
	running
	ended
)

// The back-off of a container that ends again and again, as the kubelet has it.
const (
	backoffFirst = 10 * time.Second
	backoffMost  = 5 * time.Minute
	// backoffForget is how long a container must have run for its earlier ends not to count.
	backoffForget = 10 * time.Minute
)

// killed is the exit code of a process that SIGTERM ended.
const killed = 128 + 15

// container is one container's life so far.
type container struct {
	stage    stage
	since    time.Time // when it came to be in the stage
	started  time.Time // of the run that is under way, or was the last
	code     int32     // with which the last run ended
	reason   string    // why, where that is not plain from the code
	restarts int32
	last     *run // the run before
	streak   int  // ends in a row without a long run
	resume   time.Time
}

// run is a run that is over.
type run struct {
	started, finished time.Time
	code              int32
	reason            string
}

// life is what a node knows of a pod besides the pod itself.
type life struct {
	begun      time.Time // when the node took the pod up
	stopAt     time.Time // when a deleted pod will have stopped; zero for others
	deadline   bool      // it ran for longer than it may
	containers map[string]*container
}

func newLife(begun time.Time) *life { return &life{begun: begun, containers: map[string]*container{}} }

func (l *life) of(name string) *container {
	c := l.containers[name]
	if c == nil {
		c = &container{since: l.begun}
		l.containers[name] = c
	}
	return c
}

// due gathers the earliest of several times.
type due struct{ at time.Time }

func (d *due) add(t time.Time) {
	if !t.IsZero() && (d.at.IsZero() || t.Before(d.at)) {
		d.at = t
	}
}

// advance brings a pod's life up to now, and returns when it goes on next; zero is never.
func (l *life) advance(pod *corev1.Pod, c courses, now time.Time) time.Time {
	var next due
	if !l.stopAt.IsZero() {
		if now.Before(l.stopAt) {
			next.add(l.stopAt)
		} else {
			l.stop(pod, l.stopAt, killed, "")
			return time.Time{}
		}
	}
	if seconds := pod.Spec.ActiveDeadlineSeconds; seconds != nil && !l.over(pod) {
		at := l.begun.Add(time.Duration(*seconds) * time.Second)
		if !now.Before(at) {
			l.deadline = true
			l.stop(pod, at, killed, "")
			return time.Time{}
		}
		next.add(at)
	}
	if l.deadline {
		return next.at
	}
	ready, passed := l.initialize(pod, c, now, &next)
	if passed {
		for i := range pod.Spec.Containers {
			spec := &pod.Spec.Containers[i]
			l.step(spec.Name, c.containers[spec.Name], pod.Spec.RestartPolicy, ready, now, &next)
		}
		if l.over(pod) {
			l.stopSidecars(pod, now)
		}
	}
	return next.at
}

// initialize runs init containers one after another, and tells whether and when the others may start.
func (l *life) initialize(pod *corev1.Pod, c courses, now time.Time, next *due) (ready time.Time, passed bool) {
	ready = l.begun
	for i := range pod.Spec.InitContainers {
		spec := &pod.Spec.InitContainers[i]
		course := c.containers[spec.Name]
		if sidecar(spec) {
			l.step(spec.Name, course, corev1.RestartPolicyAlways, ready, now, next)
			one := l.of(spec.Name)
			if one.started.IsZero() {
				return ready, false
			}
			if one.last == nil { // one that restarts holds nobody up
				ready = later(ready, one.started)
			}
			continue
		}
		policy := corev1.RestartPolicyOnFailure
		if pod.Spec.RestartPolicy == corev1.RestartPolicyNever {
			policy = corev1.RestartPolicyNever
		}
		l.step(spec.Name, course, policy, ready, now, next)
		one := l.of(spec.Name)
		if one.stage != ended || one.code != 0 {
			return ready, false
		}
		ready = later(ready, one.since)
	}
	return ready, true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// step brings one container, that may start at a time, up to now.
func (l *life) step(name string, c course, policy corev1.RestartPolicy, from, now time.Time, next *due) {
	one := l.of(name)
	for {
		var at time.Time
		switch one.stage {
		case waiting:
			if c.pullError != "" || c.start < 0 {
				return
			}
			at = from.Add(c.start)
			if !one.resume.IsZero() {
				at = one.resume
			}
		case running:
			if at := one.started.Add(c.ready); !c.unready && c.ready > 0 && now.Before(at) {
				next.add(at)
			}
			if c.finish < 0 {
				return
			}
			at = one.started.Add(c.finish)
		case ended:
			if policy == corev1.RestartPolicyNever || policy == corev1.RestartPolicyOnFailure && one.code == 0 {
				return
			}
			one.retire()
			continue
		}
		if now.Before(at) {
			next.add(at)
			return
		}
		// What is late by less than a moment happened when it was due, so that one thing follows another
		// without the time that it took to be seen.
		if one.stage == waiting {
			one.stage, one.since, one.started, one.resume = running, at, at, time.Time{}
		} else {
			one.end(at, c.exit(one.restarts), c.exitReason)
		}
	}
}

func (c *container) end(at time.Time, code int32, reason string) {
	if code == 0 {
		reason = ""
	}
	c.stage, c.since, c.code, c.reason = ended, at, code, reason
}

// retire makes a container that ended wait for its next run.
func (c *container) retire() {
	c.last = &run{c.started, c.since, c.code, c.reason}
	if c.since.Sub(c.started) >= backoffForget {
		c.streak = 0
	}
	c.resume = c.since.Add(backoff(c.streak))
	c.streak++
	c.restarts++
	c.stage = waiting
}

// backoff is how long a container waits after so many ends in a row before.
func backoff(streak int) time.Duration {
	if streak == 0 {
		return 0
	}
	return min(backoffFirst<<min(streak-1, 10), backoffMost)
}

// ready tells whether a container takes requests.
func (c *container) ready(does course, now time.Time) bool {
	return c.stage == running && !does.unready && does.ready >= 0 && !now.Before(c.started.Add(does.ready))
}

// stop ends what runs. What never ran counts as stopped too.
func (l *life) stop(pod *corev1.Pod, at time.Time, code int32, reason string) {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if one := l.of(list[i].Name); one.stage != ended {
				if one.started.IsZero() {
					one.started = at
				}
				one.end(at, code, reason)
			}
		}
	}
}

// stopSidecars ends them after the last container.
func (l *life) stopSidecars(pod *corev1.Pod, now time.Time) {
	for i := range pod.Spec.InitContainers {
		if spec := &pod.Spec.InitContainers[i]; sidecar(spec) {
			if one := l.of(spec.Name); one.stage != ended {
				one.end(now, 0, "")
			}
		}
	}
}

// over tells whether no container of the pod will run again: in its phase it has succeeded or failed.
func (l *life) over(pod *corev1.Pod) bool {
	if l.deadline {
		return true
	}
	stopped := !l.stopAt.IsZero()
	for i := range pod.Spec.InitContainers {
		spec := &pod.Spec.InitContainers[i]
		one := l.of(spec.Name)
		if !sidecar(spec) && one.stage == ended && one.code != 0 && (stopped || pod.Spec.RestartPolicy == corev1.RestartPolicyNever) {
			return true
		}
	}
	for i := range pod.Spec.Containers {
		one := l.of(pod.Spec.Containers[i].Name)
		if one.stage != ended {
			return false
		}
		again := pod.Spec.RestartPolicy == corev1.RestartPolicyAlways || pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure && one.code != 0
		if again && !stopped {
			return false
		}
	}
	return true
}
