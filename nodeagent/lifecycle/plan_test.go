package lifecycle

import (
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"coracle.dev/coracle/nodeagent/spec"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// story is a pod and what the runtime has of it, built step by step.
type story struct{ in Input }

func tell(policy corev1.RestartPolicy, names ...string) *story {
	s := &story{in: Input{
		Pod: &corev1.Pod{}, Observed: NewObserved(), Now: now, Health: map[string]Health{}, Backoffs: map[string]Backoff{},
		NotBefore: map[string]time.Time{}, Replace: map[string]bool{},
	}}
	s.in.Pod.Name, s.in.Pod.Namespace, s.in.Pod.UID = "p", "ns", "u"
	s.in.Pod.Spec.RestartPolicy = policy
	for _, name := range names {
		c := corev1.Container{Name: strings.TrimLeft(name, "i+"), Image: "x"}
		switch {
		case strings.HasPrefix(name, "i+"):
			c.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
			s.in.Pod.Spec.InitContainers = append(s.in.Pod.Spec.InitContainers, c)
		case strings.HasPrefix(name, "i"):
			s.in.Pod.Spec.InitContainers = append(s.in.Pod.Spec.InitContainers, c)
		default:
			s.in.Pod.Spec.Containers = append(s.in.Pod.Spec.Containers, c)
		}
	}
	return s
}

func (s *story) sandbox(ready bool) *story {
	n := len(s.in.Observed.Sandboxes)
	s.in.Observed.MergeSandbox(Sandbox{ID: fmt.Sprintf("s%d", n), Attempt: uint32(n), Ready: ready, IPs: []string{"10.0.0.1"}})
	return s
}

func (s *story) add(name string, state State, code int32, ago time.Duration) *story {
	current, _ := s.in.Observed.Sandbox()
	n := len(s.in.Observed.Instances(name))
	c := Container{ID: fmt.Sprintf("%s%d", name, n), Name: name, SandboxID: current.ID, State: state, RestartCount: n, ExitCode: code, StartedAt: now.Add(-ago - time.Second)}
	if d := spec.FindContainer(s.in.Pod, name); d != nil {
		c.Hash = spec.ContainerHash(d)
	}
	if state == Exited {
		c.FinishedAt = now.Add(-ago)
	}
	s.in.Observed.MergeContainer(c)
	return s
}

func (s *story) runs(name string) *story { return s.add(name, Running, 0, 0) }
func (s *story) ended(name string, code int32, ago time.Duration) *story {
	return s.add(name, Exited, code, ago)
}
func (s *story) health(id string, h Health) *story { s.in.Health[id] = h; return s }
func (s *story) with(f func(*Input)) *story        { f(&s.in); return s }

// String writes a plan in one line.
func (p Plan) String() string {
	var out []string
	if p.StopSandboxes {
		out = append(out, "stop sandboxes")
	}
	if p.NewSandbox {
		out = append(out, fmt.Sprintf("sandbox %d", p.SandboxAttempt))
	}
	for _, k := range p.Kill {
		out = append(out, fmt.Sprintf("kill %s in %ds: %s", k.Container.ID, k.GracePeriod, k.Message))
	}
	for _, s := range p.Start {
		out = append(out, fmt.Sprintf("start %s/%d", s.Name, s.RestartCount))
	}
	var waiting []string
	for name, m := range p.Waiting {
		waiting = append(waiting, name+" waits: "+m)
	}
	sort.Strings(waiting)
	out = append(out, waiting...)
	if p.Finished {
		out = append(out, "finished")
	}
	if p.Ended {
		out = append(out, "ended")
	}
	if !p.Wake.IsZero() {
		out = append(out, "wake +"+p.Wake.Sub(now).String())
	}
	return strings.Join(out, "; ")
}

func TestCompute(t *testing.T) {
	const always, onFailure, never = corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever
	dying := func(ago time.Duration) func(*Input) {
		return func(in *Input) { in.Termination = &Termination{Since: now.Add(-ago), GracePeriod: 30} }
	}
	for name, c := range map[string]struct {
		story *story
		want  string
	}{
		"new pod":                     {tell(always, "a", "b"), "sandbox 0; start a/0; start b/0"},
		"new pod with init":           {tell(always, "iinit", "a"), "sandbox 0; start nit/0"},
		"sandbox only":                {tell(always, "a", "b").sandbox(true), "start a/0; start b/0"},
		"one runs":                    {tell(always, "a", "b").sandbox(true).runs("a"), "start b/0"},
		"all run":                     {tell(always, "a").sandbox(true).runs("a"), ""},
		"created but never started":   {tell(always, "a").sandbox(true).add("a", Created, 0, 0), "start a/0"},
		"first crash":                 {tell(always, "a").sandbox(true).ended("a", 1, 0), "start a/1"},
		"success starts again":        {tell(always, "a").sandbox(true).ended("a", 0, 0), "start a/1"},
		"crash in back-off":           {tell(always, "a").sandbox(true).ended("a", 1, 4*time.Second).with(func(in *Input) { in.Backoffs["a"] = Backoff{10 * time.Second, now.Add(-5 * time.Second)} }), "a waits: back-off 10s restarting failed container=a pod=p_ns(u); wake +6s"},
		"crash after back-off":        {tell(always, "a").sandbox(true).ended("a", 1, 11*time.Second).with(func(in *Input) { in.Backoffs["a"] = Backoff{10 * time.Second, now.Add(-12 * time.Second)} }), "start a/1"},
		"start that failed waits":     {tell(always, "a").sandbox(true).with(func(in *Input) { in.NotBefore["a"] = now.Add(3 * time.Second) }), "wake +3s"},
		"on failure, success":         {tell(onFailure, "a").sandbox(true).ended("a", 0, 0), "finished"},
		"on failure, failure":         {tell(onFailure, "a").sandbox(true).ended("a", 2, 0), "start a/1"},
		"never, failure":              {tell(never, "a").sandbox(true).ended("a", 2, 0), "finished"},
		"never, one still runs":       {tell(never, "a", "b").sandbox(true).ended("a", 0, 0).runs("b"), ""},
		"sandbox lost":                {tell(always, "a").sandbox(false).ended("a", 137, 0), "stop sandboxes; sandbox 1; start a/1"},
		"sandbox lost, never":         {tell(never, "a").sandbox(false).ended("a", 137, 0), "finished"},
		"sandbox lost, done":          {tell(onFailure, "a").sandbox(false).ended("a", 0, 0), "finished"},
		"sandbox lost, init again":    {tell(always, "iz", "a").sandbox(true).ended("z", 0, 0).runs("a").sandbox(false), "stop sandboxes; sandbox 2; start z/1"},
		"new sandbox, init again":     {tell(always, "iz", "a").sandbox(false).ended("z", 0, 0).ended("a", 1, 0).sandbox(true), "start z/1"},
		"init runs":                   {tell(always, "iz", "a").sandbox(true).runs("z"), ""},
		"init done":                   {tell(always, "iz", "iy", "a").sandbox(true).ended("z", 0, 0), "start y/0"},
		"inits done":                  {tell(always, "iz", "iy", "a").sandbox(true).ended("z", 0, 0).ended("y", 0, 0), "start a/0"},
		"init failed, again":          {tell(always, "iz", "a").sandbox(true).ended("z", 1, 0), "start z/1"},
		"init failed, never":          {tell(never, "iz", "a").sandbox(true).ended("z", 1, 0), "finished"},
		"sidecar starting":            {tell(always, "i+z", "a").sandbox(true).runs("z").health("z0", Health{}), ""},
		"sidecar started":             {tell(always, "i+z", "a").sandbox(true).runs("z").health("z0", Health{Started: true}), "start a/0"},
		"sidecar ended":               {tell(always, "i+z", "a").sandbox(true).ended("z", 0, 0).runs("a"), "start z/1"},
		"sidecar of a finished job":   {tell(never, "i+z", "a").sandbox(true).runs("z").ended("a", 0, 0), "finished"},
		"liveness failed":             {tell(always, "a").sandbox(true).runs("a").health("a0", Health{LivenessFailed: true}), "kill a0 in 30s: Container a failed liveness probe, will be restarted"},
		"liveness failed, never":      {tell(never, "a").sandbox(true).runs("a").health("a0", Health{LivenessFailed: true}), "kill a0 in 30s: Container a failed liveness probe"},
		"killed for liveness, exit 0": {tell(onFailure, "a").sandbox(true).ended("a", 0, 0).with(func(in *Input) { in.Replace["a0"] = true }), "start a/1"},
		"image changed":               {tell(always, "a").sandbox(true).runs("a").with(func(in *Input) { in.Pod.Spec.Containers[0].Image = "y" }), "kill a0 in 30s: Container a definition changed, will be restarted"},
		"unknown state":               {tell(always, "a").sandbox(true).add("a", Unknown, 0, 0), `kill a0 in 30s: Container is in "unknown" state, try killing it before restart`},
		"terminating":                 {tell(always, "i+z", "a").sandbox(true).runs("z").runs("a").with(dying(time.Second)), "kill a0 in 29s: Stopping container a; wake +29s"},
		"terminating, sidecars":       {tell(always, "i+z", "i+y", "a").sandbox(true).runs("z").runs("y").ended("a", 0, 0).with(dying(0)), "kill y0 in 30s: Stopping container y; wake +30s"},
		"terminating, out of time":    {tell(always, "i+z", "a").sandbox(true).runs("z").runs("a").with(dying(31 * time.Second)), "kill a0 in 0s: Stopping container a; kill z0 in 0s: Stopping container z"},
		"terminating, sandbox left":   {tell(always, "a").sandbox(true).ended("a", 0, 0).with(dying(0)), "stop sandboxes"},
		"terminated":                  {tell(always, "a").sandbox(false).ended("a", 0, 0).with(dying(0)), "ended"},
		"ephemeral": {tell(always, "a").sandbox(true).runs("a").with(func(in *Input) {
			in.Pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e"}}}
		}), "start e/0"},
		"rule restarts": {tell(never, "a").sandbox(true).ended("a", 42, 0).with(func(in *Input) {
			in.Pod.Spec.Containers[0].RestartPolicy = ptr.To(corev1.ContainerRestartPolicyNever)
			in.Pod.Spec.Containers[0].RestartPolicyRules = []corev1.ContainerRestartRule{{Action: corev1.ContainerRestartRuleActionRestart, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{42}}}}
		}), "start a/1"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Compute(c.story.in).String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestBackoff tells of a container that always ends after a second.
func TestBackoff(t *testing.T) {
	var b Backoff
	at := now
	var waits []time.Duration
	for range 8 {
		finished := at.Add(time.Second)
		wait := b.Wait(finished)
		waits = append(waits, wait)
		at = finished.Add(wait)
		b = b.Next(finished, at)
	}
	s := time.Second
	if diff := cmp.Diff([]time.Duration{0, 10 * s, 20 * s, 40 * s, 80 * s, 160 * s, 300 * s, 300 * s}, waits); diff != "" {
		t.Error(diff)
	}
	if wait := b.Wait(at.Add(11 * time.Minute)); wait != 0 {
		t.Errorf("waits %v after ten quiet minutes", wait)
	}
}

// TestMerge: what is learnt late does not bring back the past.
func TestMerge(t *testing.T) {
	o := NewObserved()
	o.MergeContainer(Container{ID: "c", State: Exited, ExitCode: 1})
	if o.MergeContainer(Container{ID: "c", State: Running}) || o.Containers["c"].State != Exited {
		t.Error("a container came back to life")
	}
	o.MergeSandbox(Sandbox{ID: "s", Ready: true, IPs: []string{"1"}})
	o.MergeSandbox(Sandbox{ID: "s"})
	if o.MergeSandbox(Sandbox{ID: "s", Ready: true}) || o.Sandboxes["s"].Ready {
		t.Error("a sandbox came back to life")
	}
	if diff := cmp.Diff([]string{"1"}, o.Sandboxes["s"].IPs); diff != "" {
		t.Errorf("address: %s", diff)
	}
}

// line writes a status in one line.
func line(s corev1.PodStatus) string {
	out := []string{string(s.Phase)}
	state := func(c corev1.ContainerState) string {
		switch {
		case c.Waiting != nil:
			return "waiting " + c.Waiting.Reason
		case c.Running != nil:
			return "running"
		case c.Terminated != nil:
			return fmt.Sprintf("%s %d", c.Terminated.Reason, c.Terminated.ExitCode)
		}
		return "-"
	}
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for _, c := range list {
			out = append(out, fmt.Sprintf("%s#%d ready=%t %s (last %s)", c.Name, c.RestartCount, c.Ready, state(c.State), state(c.LastTerminationState)))
		}
	}
	for _, c := range s.Conditions {
		if c.Status == corev1.ConditionTrue {
			out = append(out, string(c.Type))
		}
	}
	return strings.Join(out, "; ")
}

func TestStatus(t *testing.T) {
	const always, never = corev1.RestartPolicyAlways, corev1.RestartPolicyNever
	over := func(in *Input) { in.Termination = &Termination{Since: now, GracePeriod: 30} }
	for name, c := range map[string]struct {
		story *story
		errs  map[string]StartError
		over  bool
		want  string
	}{
		"new":            {story: tell(always, "a"), want: "Pending; a#0 ready=false waiting ContainerCreating (last -); Initialized; PodScheduled"},
		"new with init":  {story: tell(always, "iz", "a"), want: "Pending; z#0 ready=false waiting PodInitializing (last -); a#0 ready=false waiting PodInitializing (last -); PodScheduled"},
		"running":        {story: tell(always, "a").sandbox(true).runs("a"), want: "Running; a#0 ready=true running (last -); PodReadyToStartContainers; Initialized; Ready; ContainersReady; PodScheduled"},
		"one of two":     {story: tell(always, "a", "b").sandbox(true).runs("a"), want: "Pending; a#0 ready=true running (last -); b#0 ready=false waiting ContainerCreating (last -); PodReadyToStartContainers; Initialized; PodScheduled"},
		"unready":        {story: tell(always, "a").sandbox(true).runs("a").health("a0", Health{Started: true}), want: "Running; a#0 ready=false running (last -); PodReadyToStartContainers; Initialized; PodScheduled"},
		"pull error":     {story: tell(always, "a").sandbox(true), errs: map[string]StartError{"a": {Reason: "ErrImagePull"}}, want: "Pending; a#0 ready=false waiting ErrImagePull (last -); PodReadyToStartContainers; Initialized; PodScheduled"},
		"crashed":        {story: tell(always, "a").sandbox(true).ended("a", 1, 0), want: "Running; a#0 ready=false Error 1 (last -); PodReadyToStartContainers; Initialized; PodScheduled"},
		"crash loop":     {story: tell(always, "a").sandbox(true).ended("a", 1, 9*time.Second).ended("a", 2, 0).with(func(in *Input) { in.Backoffs["a"] = Backoff{10 * time.Second, now} }), want: "Running; a#1 ready=false waiting CrashLoopBackOff (last Error 2); PodReadyToStartContainers; Initialized; PodScheduled"},
		"restarted":      {story: tell(always, "a").sandbox(true).ended("a", 1, 9*time.Second).runs("a"), want: "Running; a#1 ready=true running (last Error 1); PodReadyToStartContainers; Initialized; Ready; ContainersReady; PodScheduled"},
		"succeeded":      {story: tell(never, "a").sandbox(true).ended("a", 0, 0), want: "Succeeded; a#0 ready=false Completed 0 (last -); PodReadyToStartContainers; Initialized; PodScheduled"},
		"failed":         {story: tell(never, "a", "b").sandbox(true).ended("a", 0, 0).ended("b", 1, 0), want: "Failed; a#0 ready=false Completed 0 (last -); b#0 ready=false Error 1 (last -); PodReadyToStartContainers; Initialized; PodScheduled"},
		"init failed":    {story: tell(never, "iz", "a").sandbox(true).ended("z", 1, 0), want: "Failed; z#0 ready=false Error 1 (last -); a#0 ready=false waiting PodInitializing (last -); PodReadyToStartContainers; PodScheduled"},
		"sidecar stays":  {story: tell(never, "i+z", "a").sandbox(true).runs("z").ended("a", 0, 0), want: "Running; z#0 ready=true running (last -); a#0 ready=false Completed 0 (last -); PodReadyToStartContainers; Initialized; PodScheduled"},
		"deleted":        {story: tell(always, "a").sandbox(false).ended("a", 143, 0).with(over), over: true, want: "Failed; a#0 ready=false Error 143 (last -); Initialized; PodScheduled"},
		"deleted, clean": {story: tell(always, "a").sandbox(false).ended("a", 0, 0).with(over), over: true, want: "Succeeded; a#0 ready=false Completed 0 (last -); Initialized; PodScheduled"},
		"deleted early":  {story: tell(always, "a").with(over), over: true, want: "Failed; a#0 ready=false waiting ContainerCreating (last -); Initialized; PodScheduled"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Status(StatusInput{Input: c.story.in, Plan: Compute(c.story.in), HostIPs: []string{"192.0.2.1"}, Errors: c.errs, Over: c.over})
			if diff := cmp.Diff(c.want, line(got)); diff != "" {
				t.Error(diff)
			}
			next := c.story.in
			pod := *next.Pod
			pod.Status = got
			next.Pod = &pod
			again := Status(StatusInput{Input: next, Plan: Compute(next), HostIPs: []string{"192.0.2.1"}, Errors: c.errs, Over: c.over})
			if diff := cmp.Diff(got, again); diff != "" {
				t.Errorf("the status does not settle: %s", diff)
			}
		})
	}
}
