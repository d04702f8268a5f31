package lifecycle

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"coracle.dev/coracle/nodeagent/spec"
)

// Reasons that a container waits for.
const (
	ReasonCreating       = "ContainerCreating"
	ReasonInitializing   = "PodInitializing"
	ReasonCrashLoop      = "CrashLoopBackOff"
	reasonCompleted      = "Completed"
	reasonError          = "Error"
	reasonStatusUnknown  = "ContainerStatusUnknown"
	messageStatusUnknown = "The container could not be located when the pod was terminated"
	messageLost          = "The container could not be located when the pod was deleted.  The container used to be Running"
	unknownExitCode      = 137
	containerIDPrefix    = "containerd://"
)

// StartError is why a container could not be started.
type StartError struct{ Reason, Message string }

// StatusInput is what a status is made from.
type StatusInput struct {
	Input
	// Plan that was made from the same input.
	Plan    Plan
	HostIPs []string
	// Errors of starting containers, by name.
	Errors map[string]StartError
	// Actual resources of containers, by id, and how far a change has come.
	Actual map[string]corev1.ResourceRequirements
	Resize Resize
	// Over means that all of the pod has ended for good.
	Over bool
}

// Status computes the pod's status from its old one, which the pod carries.
func Status(in StatusInput) corev1.PodStatus {
	old := &in.Pod.Status
	s := *old.DeepCopy()
	s.ObservedGeneration = in.Pod.Generation
	if s.StartTime == nil {
		s.StartTime = &metav1.Time{Time: in.Now.Truncate(time.Second)}
	}
	s.QOSClass = spec.QOSClass(in.Pod)
	in.addresses(&s)
	initialized := in.initialized()
	s.InitContainerStatuses = in.containers(in.Pod.Spec.InitContainers, old.InitContainerStatuses, true, initialized)
	s.ContainerStatuses = in.containers(in.Pod.Spec.Containers, old.ContainerStatuses, false, initialized)
	var ephemeral []corev1.Container
	for _, c := range in.Pod.Spec.EphemeralContainers {
		ephemeral = append(ephemeral, corev1.Container(c.EphemeralContainerCommon))
	}
	s.EphemeralContainerStatuses = in.containers(ephemeral, old.EphemeralContainerStatuses, false, true)
	s.Phase = in.phase(&s)
	if t := in.Termination; t != nil && t.Reason != "" {
		s.Phase, s.Reason, s.Message = corev1.PodFailed, t.Reason, t.Message
	}
	// An end is final, whatever is learnt afterwards.
	if old.Phase == corev1.PodFailed || old.Phase == corev1.PodSucceeded {
		s.Phase = old.Phase
	}
	in.conditions(&s)
	return s
}

func (in *StatusInput) addresses(s *corev1.PodStatus) {
	s.HostIPs = nil
	for _, ip := range in.HostIPs {
		s.HostIPs = append(s.HostIPs, corev1.HostIP{IP: ip})
	}
	if len(in.HostIPs) > 0 {
		s.HostIP = in.HostIPs[0]
	}
	sandbox, ok := in.Observed.Sandbox()
	ips := sandbox.IPs
	if ok && sandbox.Ready && in.Pod.Spec.HostNetwork {
		ips = in.HostIPs
	}
	if len(ips) == 0 {
		return // a pod that has ended keeps its address
	}
	s.PodIP, s.PodIPs = ips[0], nil
	for _, ip := range ips {
		s.PodIPs = append(s.PodIPs, corev1.PodIP{IP: ip})
	}
}

// initialized tells whether all regular init containers have done their work
// and all sidecars have started.
func (in *StatusInput) initialized() bool {
	sandbox, _ := in.Observed.Sandbox()
	for _, c := range in.Pod.Spec.Containers {
		if last, ok := in.Observed.Newest(c.Name); ok && last.SandboxID == sandbox.ID {
			return true
		}
	}
	for i := range in.Pod.Spec.InitContainers {
		c := &in.Pod.Spec.InitContainers[i]
		last, ok := in.Observed.Newest(c.Name)
		if !ok || last.SandboxID != sandbox.ID {
			return false
		}
		if spec.IsSidecar(c) {
			if !in.health(last).Started {
				return false
			}
		} else if last.State != Exited || last.ExitCode != 0 {
			return false
		}
	}
	return true
}

// health of a container; what no probe looks at is well while it runs.
func (in *Input) health(c Container) Health {
	if c.State != Running {
		return Health{}
	}
	if h, ok := in.Health[c.ID]; ok {
		return h
	}
	return Health{Started: true, Ready: true}
}

func (in *StatusInput) containers(list []corev1.Container, old []corev1.ContainerStatus, init, initialized bool) []corev1.ContainerStatus {
	if len(list) == 0 {
		return nil
	}
	out := make([]corev1.ContainerStatus, 0, len(list))
	for i := range list {
		c := &list[i]
		var before *corev1.ContainerStatus
		if at := slices.IndexFunc(old, func(s corev1.ContainerStatus) bool { return s.Name == c.Name }); at >= 0 {
			before = &old[at]
		}
		s := in.container(c, before, init, initialized)
		s.VolumeMounts = mountStatuses(c)
		if len(c.Resources.Requests) > 0 {
			s.AllocatedResources = c.Resources.Requests
		}
		if s.State.Running != nil {
			s.Resources = c.Resources.DeepCopy()
			if has, ok := in.Actual[strings.TrimPrefix(s.ContainerID, containerIDPrefix)]; ok {
				s.Resources = has.DeepCopy()
			}
		}
		out = append(out, s)
	}
	return out
}

func mountStatuses(c *corev1.Container) []corev1.VolumeMountStatus {
	var out []corev1.VolumeMountStatus
	for _, m := range c.VolumeMounts {
		s := corev1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.ReadOnly {
			s.RecursiveReadOnly = ptr.To(corev1.RecursiveReadOnlyDisabled)
			if m.RecursiveReadOnly != nil {
				s.RecursiveReadOnly = m.RecursiveReadOnly
			}
		}
		out = append(out, s)
	}
	return out
}

func (in *StatusInput) container(c *corev1.Container, old *corev1.ContainerStatus, init, initialized bool) corev1.ContainerStatus {
	instances := in.Observed.Instances(c.Name)
	if len(instances) == 0 {
		return in.absent(c, old, init, initialized)
	}
	last := instances[0]
	s := corev1.ContainerStatus{
		Name: c.Name, RestartCount: int32(last.RestartCount),
		Image: last.Image, ImageID: last.ImageID,
		ContainerID: containerIDPrefix + last.ID,
		User:        last.User,
		State:       stateOf(last),
	}
	if len(instances) > 1 && instances[1].State == Exited {
		s.LastTerminationState = stateOf(instances[1])
	} else if old != nil && last.RestartCount > 0 {
		s.LastTerminationState = lastOf(old, s.ContainerID)
	}
	h := in.health(last)
	s.Ready, s.Started = h.Ready && h.Started, ptr.To(h.Started)
	if init && !spec.IsSidecar(c) {
		s.Ready = last.State == Exited && last.ExitCode == 0
		s.Started = ptr.To(false)
	}
	if last.State == Created {
		s.State = waiting(in.idleReason(init, initialized), "")
	}
	if last.State != Running && in.Termination == nil && !in.Over {
		in.explain(c.Name, last, &s)
	}
	return s
}

// lastOf is the end before the one in progress, as the API server knew it.
func lastOf(old *corev1.ContainerStatus, id string) corev1.ContainerState {
	if old.ContainerID != id && old.State.Terminated != nil {
		return old.State
	}
	return old.LastTerminationState
}

// explain shows why a container that ended, or never ran, does not start.
func (in *StatusInput) explain(name string, last Container, s *corev1.ContainerStatus) {
	var state corev1.ContainerState
	if message, ok := in.Plan.Waiting[name]; ok {
		state = waiting(ReasonCrashLoop, message)
	} else if e, ok := in.Errors[name]; ok {
		state = waiting(e.Reason, e.Message)
	} else {
		return
	}
	if last.State == Exited {
		s.LastTerminationState = s.State
	}
	s.State = state
}

func (in *StatusInput) idleReason(init, initialized bool) string {
	if len(in.Pod.Spec.InitContainers) > 0 && !initialized {
		return ReasonInitializing
	}
	return ReasonCreating
}

// absent is the status of a container that the runtime does not know.
func (in *StatusInput) absent(c *corev1.Container, old *corev1.ContainerStatus, init, initialized bool) corev1.ContainerStatus {
	s := corev1.ContainerStatus{Name: c.Name, Image: c.Image, Started: ptr.To(false), State: waiting(in.idleReason(init, initialized), "")}
	if old != nil && (old.State.Running != nil || old.State.Terminated != nil) {
		kept := *old.DeepCopy()
		kept.Ready, kept.Started = init && old.Ready && old.State.Terminated != nil, ptr.To(false)
		gone := &corev1.ContainerStateTerminated{ExitCode: unknownExitCode, Reason: reasonStatusUnknown, Message: messageStatusUnknown, ContainerID: old.ContainerID}
		switch {
		case old.State.Terminated != nil && (in.Over || in.Termination != nil || init):
			return kept
		case in.Over || in.Termination != nil:
			gone.StartedAt = old.State.Running.StartedAt
			kept.State = corev1.ContainerState{Terminated: gone}
			return kept
		case old.State.Terminated != nil:
			gone = old.State.Terminated
		default:
			gone.Message, gone.StartedAt = messageLost, old.State.Running.StartedAt
		}
		s.RestartCount = old.RestartCount
		s.LastTerminationState = corev1.ContainerState{Terminated: gone}
	}
	if e, ok := in.Errors[c.Name]; ok && in.Termination == nil && !in.Over {
		s.State = waiting(e.Reason, e.Message)
	}
	return s
}

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func stateOf(c Container) corev1.ContainerState {
	switch c.State {
	case Running, Unknown:
		return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(c.StartedAt)}}
	case Exited:
		reason := c.Reason
		if reason == "" {
			reason = reasonCompleted
			if c.ExitCode != 0 {
				reason = reasonError
			}
		}
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: c.ExitCode, Reason: reason, Message: c.Message,
			StartedAt: at(c.StartedAt), FinishedAt: at(c.FinishedAt),
			ContainerID: containerIDPrefix + c.ID,
		}}
	}
	return corev1.ContainerState{}
}

// at drops what the API's encoding would drop, so that a status compares
// equal to itself after a round trip.
func at(t time.Time) metav1.Time {
	if t.IsZero() || t.Unix() <= 0 {
		return metav1.Time{}
	}
	return metav1.NewTime(t.Truncate(time.Second))
}

// oldStatus is what the pod says of a container.
func oldStatus(pod *corev1.Pod, name string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}
