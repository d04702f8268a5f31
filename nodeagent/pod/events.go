package pod

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"coracle.dev/coracle/nodeagent/spec"
)

// Reasons of events, as Kubernetes spells them.
const (
	ReasonCreated         = "Created"
	ReasonStarted         = "Started"
	ReasonFailed          = "Failed"
	ReasonKilling         = "Killing"
	ReasonBackOff         = "BackOff"
	ReasonUnhealthy       = "Unhealthy"
	ReasonFailedMount     = "FailedMount"
	ReasonFailedSandbox   = "FailedCreatePodSandBox"
	ReasonSandboxChanged  = "SandboxChanged"
	ReasonFailedPostStart = "FailedPostStartHook"
	ReasonFailedPreStop   = "FailedPreStopHook"
	ReasonFailedKill      = "FailedKillPod"
	ReasonDeadline        = "DeadlineExceeded"
	reasonResizeStarted   = "ResizeStarted"
	reasonResizeCompleted = "ResizeCompleted"
	reasonFailedResources = "FailedPodResources"
)

// Reasons that a container waits for after an error.
const (
	waitConfigError    = "CreateContainerConfigError"
	waitCreateError    = "CreateContainerError"
	waitRunError       = "RunContainerError"
	waitPostStartError = "PostStartHookError"
)

// ContainerEvent records an event about a container of a pod, or about the
// pod if container is empty.
func (m *Manager) ContainerEvent(pod *corev1.Pod, container, kind, reason, message string) {
	RecordContainerEvent(m.Events, pod, container, kind, reason, message)
}

// RecordContainerEvent is ContainerEvent on any recorder.
func RecordContainerEvent(r record.EventRecorder, pod *corev1.Pod, container, kind, reason, message string) {
	if pod.ResourceVersion == "" {
		return // a left-over that the API server does not know
	}
	ref := &corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod",
		Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
	}
	if container != "" {
		ref.FieldPath = spec.FieldPath(pod, container)
	}
	r.Event(ref, kind, reason, message)
}
