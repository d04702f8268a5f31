package lifecycle

import (
	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/nodeagent/spec"
)

// count of containers by what they are doing.
type count struct{ waiting, running, stopped, succeeded, unknown int }

// phase sums up the container statuses.
func (in *StatusInput) phase(s *corev1.PodStatus) corev1.PodPhase {
	pendingInit, failedInit, runningSidecars := in.initCounts(s)
	if failedInit {
		return corev1.PodFailed
	}
	n := appCounts(in.Pod, s)
	switch {
	case pendingInit && !in.Over && (n.running == 0 && n.stopped == 0):
		return corev1.PodPending
	case n.waiting > 0 && !in.Over:
		return corev1.PodPending
	case n.running > 0 && n.unknown == 0:
		return corev1.PodRunning
	case n.running == 0 && n.stopped > 0 && n.unknown == 0 || in.Over:
		return in.stoppedPhase(n, runningSidecars)
	}
	return corev1.PodPending
}

func (in *StatusInput) stoppedPhase(n count, runningSidecars bool) corev1.PodPhase {
	allWell := n.stopped > 0 && n.stopped == n.succeeded && n.waiting == 0 && n.unknown == 0
	if in.Over {
		if allWell {
			return corev1.PodSucceeded
		}
		return corev1.PodFailed
	}
	if runningSidecars || in.anyRestarts() {
		return corev1.PodRunning
	}
	if allWell {
		return corev1.PodSucceeded
	}
	return corev1.PodFailed
}

// anyRestarts tells whether some container that ended will start again.
func (in *StatusInput) anyRestarts() bool {
	p := planner{Input: in.Input}
	return !p.appsOver()
}

func (in *StatusInput) initCounts(s *corev1.PodStatus) (pending, failed, sidecars bool) {
	for i := range in.Pod.Spec.InitContainers {
		c := &in.Pod.Spec.InitContainers[i]
		if i >= len(s.InitContainerStatuses) {
			return true, failed, sidecars
		}
		st := &s.InitContainerStatuses[i]
		if spec.IsSidecar(c) {
			sidecars = sidecars || st.State.Running != nil
			pending = pending || st.Started == nil || !*st.Started
			continue
		}
		ended := st.State.Terminated
		switch {
		case ended == nil:
			pending = true
		case ended.ExitCode == 0:
		case initRestarts(in.Pod, c, ended.ExitCode):
			pending = true
		default:
			failed = true
		}
	}
	return pending, failed, sidecars
}

func appCounts(pod *corev1.Pod, s *corev1.PodStatus) count {
	var n count
	for i := range pod.Spec.Containers {
		if i >= len(s.ContainerStatuses) {
			n.unknown++
			continue
		}
		st := &s.ContainerStatuses[i]
		switch {
		case st.State.Running != nil:
			n.running++
		case st.State.Terminated != nil:
			n.stopped++
			if st.State.Terminated.ExitCode == 0 {
				n.succeeded++
			}
		case st.State.Waiting != nil && st.LastTerminationState.Terminated != nil:
			n.stopped++
		case st.State.Waiting != nil:
			n.waiting++
		default:
			n.unknown++
		}
	}
	return n
}
