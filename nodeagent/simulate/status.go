package simulate

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons that the kubelet gives.
const (
	reasonCreating       = "ContainerCreating"
	reasonInitializing   = "PodInitializing"
	reasonBackOff        = "CrashLoopBackOff"
	reasonCompleted      = "Completed"
	reasonError          = "Error"
	reasonNotReady       = "ContainersNotReady"
	reasonNotInitialized = "ContainersNotInitialized"
	reasonPodCompleted   = "PodCompleted"
	reasonPodFailed      = "PodFailed"
	reasonGates          = "ReadinessGatesNotReady"
	reasonDeadline       = "DeadlineExceeded"
	deadlineMessage      = "Pod was active on the node longer than the specified deadline"
)

// stamp is a time as the API keeps it, in whole seconds.
func stamp(t time.Time) metav1.Time { return metav1.NewTime(t.UTC().Truncate(time.Second)) }

// place is where a pod runs.
type place struct {
	hostIP, podIP string
}

// show is the status of a pod whose life is as far as now. Conditions of others are kept.
func (l *life) show(pod *corev1.Pod, does courses, at place, now time.Time) corev1.PodStatus {
	s := *pod.Status.DeepCopy()
	s.ObservedGeneration = pod.Generation
	s.HostIP, s.HostIPs = at.hostIP, []corev1.HostIP{{IP: at.hostIP}}
	s.PodIP, s.PodIPs = at.podIP, []corev1.PodIP{{IP: at.podIP}}
	begun := stamp(l.begun)
	if s.StartTime == nil {
		s.StartTime = &begun
	}
	initialized, waits := l.initialized(pod)
	creating := reasonCreating
	if !initialized && len(pod.Spec.InitContainers) > 0 {
		creating = reasonInitializing
	}
	s.InitContainerStatuses = l.containerStatuses(pod, pod.Spec.InitContainers, does, reasonInitializing, now)
	s.ContainerStatuses = l.containerStatuses(pod, pod.Spec.Containers, does, creating, now)
	for i := range s.InitContainerStatuses { // what has ended well counts as ready, as the kubelet has it
		if t := s.InitContainerStatuses[i].State.Terminated; t != nil && t.ExitCode == 0 && !sidecar(&pod.Spec.InitContainers[i]) {
			s.InitContainerStatuses[i].Ready = true
		}
	}
	s.Phase = l.phase(pod, initialized)
	if l.deadline {
		s.Reason, s.Message = reasonDeadline, deadlineMessage
	}
	l.conditions(pod, &s, initialized, waits, now)
	return s
}

// phase is the pod's.
func (l *life) phase(pod *corev1.Pod, initialized bool) corev1.PodPhase {
	if l.over(pod) {
		if l.deadline || l.failed(pod) {
			return corev1.PodFailed
		}
		return corev1.PodSucceeded
	}
	if !initialized {
		return corev1.PodPending
	}
	for i := range pod.Spec.Containers {
		if l.of(pod.Spec.Containers[i].Name).started.IsZero() {
			return corev1.PodPending
		}
	}
	return corev1.PodRunning
}

func (l *life) failed(pod *corev1.Pod) bool {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if !sidecar(&list[i]) && l.of(list[i].Name).code != 0 {
				return true
			}
		}
	}
	return false
}

// initialized tells whether all init containers have done their work, and which have not.
func (l *life) initialized(pod *corev1.Pod) (done bool, waits []string) {
	for i := range pod.Spec.InitContainers {
		spec := &pod.Spec.InitContainers[i]
		one := l.of(spec.Name)
		if sidecar(spec) && one.started.IsZero() || !sidecar(spec) && (one.stage != ended || one.code != 0) {
			waits = append(waits, spec.Name)
		}
	}
	return len(waits) == 0, waits
}

func (l *life) containerStatuses(pod *corev1.Pod, specs []corev1.Container, does courses, creating string, now time.Time) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	for i := range specs {
		spec := &specs[i]
		one, does := l.of(spec.Name), does.containers[spec.Name]
		started := one.stage == running
		s := corev1.ContainerStatus{
			Name: spec.Name, Image: spec.Image, RestartCount: one.restarts, Started: &started, Ready: one.ready(does, now),
		}
		if !one.started.IsZero() {
			s.ImageID = spec.Image
			s.ContainerID = fmt.Sprintf("simulated://%s-%s-%d", pod.UID, spec.Name, one.restarts)
			s.AllocatedResources, s.Resources = spec.Resources.Requests, spec.Resources.DeepCopy()
		}
		s.State = one.state(does, creating, now)
		if one.last != nil {
			s.LastTerminationState.Terminated = terminated(one.last.started, one.last.finished, one.last.code, one.last.reason)
		}
		out = append(out, s)
	}
	return out
}

func (c *container) state(does course, creating string, now time.Time) corev1.ContainerState {
	switch {
	case c.stage == running:
		return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: stamp(c.started)}}
	case c.stage == ended:
		return corev1.ContainerState{Terminated: terminated(c.started, c.since, c.code, c.reason)}
	case does.pullError != "" && c.last == nil:
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: does.pullError}}
	case c.last != nil && now.Before(c.resume):
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reasonBackOff,
			Message: fmt.Sprintf("back-off %s restarting failed container", backoff(c.streak-1))}}
	}
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: creating}}
}

func terminated(started, finished time.Time, code int32, reason string) *corev1.ContainerStateTerminated {
	if reason == "" {
		if reason = reasonCompleted; code != 0 {
			reason = reasonError
		}
	}
	return &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, StartedAt: stamp(started), FinishedAt: stamp(finished)}
}

// conditions sets those that are the kubelet's.
func (l *life) conditions(pod *corev1.Pod, s *corev1.PodStatus, initialized bool, waits []string, now time.Time) {
	over := s.Phase == corev1.PodSucceeded || s.Phase == corev1.PodFailed
	set := func(kind corev1.PodConditionType, good bool, reason, message string) {
		c := corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: stamp(now), ObservedGeneration: pod.Generation}
		if !good {
			c.Status, c.Reason, c.Message = corev1.ConditionFalse, reason, message
		} else if kind == corev1.PodInitialized && s.Phase == corev1.PodSucceeded {
			c.Reason = reasonPodCompleted
		}
		for i := range s.Conditions {
			if old := &s.Conditions[i]; old.Type == kind {
				if old.Status == c.Status {
					c.LastTransitionTime = old.LastTransitionTime
				}
				*old = c
				return
			}
		}
		s.Conditions = append(s.Conditions, c)
	}
	set(corev1.PodReadyToStartContainers, !over, "", "")
	set(corev1.PodInitialized, initialized || s.Phase == corev1.PodSucceeded, reasonNotInitialized, fmt.Sprintf("containers with incomplete status: %v", waits))
	var unready []string
	for _, c := range s.ContainerStatuses {
		if !c.Ready {
			unready = append(unready, c.Name)
		}
	}
	reason, message := reasonNotReady, fmt.Sprintf("containers with unready status: %v", unready)
	if over {
		message = ""
		if reason = reasonPodCompleted; s.Phase == corev1.PodFailed {
			reason = reasonPodFailed
		}
	}
	ready := len(unready) == 0 && !over
	set(corev1.ContainersReady, ready, reason, message)
	if gate := closedGate(pod, s); ready && gate != "" {
		ready, reason, message = false, reasonGates, gate
	}
	set(corev1.PodReady, ready, reason, message)
}

// closedGate says which readiness gate of a pod is not open.
func closedGate(pod *corev1.Pod, s *corev1.PodStatus) string {
	for _, g := range pod.Spec.ReadinessGates {
		open := false
		for _, c := range s.Conditions {
			open = open || c.Type == g.ConditionType && c.Status == corev1.ConditionTrue
		}
		if !open {
			return fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist or is not True.", g.ConditionType)
		}
	}
	return ""
}
