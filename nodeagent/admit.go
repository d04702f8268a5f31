package nodeagent

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	podresource "k8s.io/component-helpers/resource"
)

// admit refuses pods that cannot run here, which only pods can be that were
// not placed by a scheduler, or by one that knew too little. Reasons and
// messages are those of Kubernetes 1.37.
func (a *agent) admit(pod *corev1.Pod, others []*corev1.Pod) (reason, message string, ok bool) {
	if os := pod.Spec.OS; os != nil && os.Name != corev1.Linux {
		return "PodOSNotSupported", fmt.Sprintf("Failed to admit pod as the OS field doesn't match node OS %s", corev1.Linux), false
	}
	if int64(len(others)) >= a.allocatable.Pods().Value() {
		return "OutOfpods", fmt.Sprintf("Node didn't have enough resource: pods, requested: 1, used: %d, capacity: %d", len(others), a.allocatable.Pods().Value()), false
	}
	if s, short := a.shortage(pod, others); short {
		return "OutOf" + string(s.name), "Node didn't have enough resource: " + s.String(), false
	}
	return "", "", true
}

// fitsResize says why a pod that runs here cannot have the resources that it
// asks for now. Reasons and messages are those of Kubernetes 1.37.
func (a *agent) fitsResize(pod *corev1.Pod, others []*corev1.Pod) (reason, message string) {
	if s, short := a.shortage(pod, nil); short {
		return corev1.PodReasonInfeasible, fmt.Sprintf("Node didn't have enough capacity: %s, requested: %d, capacity: %d", s.name, s.requested, s.capacity)
	}
	if s, short := a.shortage(pod, others); short {
		return corev1.PodReasonDeferred, "Node didn't have enough resource: " + s.String()
	}
	return "", ""
}

// shortage is a resource that a pod asks for and the node does not have: CPU in
// milli-CPUs, others in bytes.
type shortage struct {
	name                      corev1.ResourceName
	requested, used, capacity int64
}

func (s shortage) String() string {
	return fmt.Sprintf("%s, requested: %d, used: %d, capacity: %d", s.name, s.requested, s.used, s.capacity)
}

func (a *agent) shortage(pod *corev1.Pod, others []*corev1.Pod) (shortage, bool) {
	count := func(list corev1.ResourceList, name corev1.ResourceName) int64 {
		q := list[name]
		if name == corev1.ResourceCPU {
			return q.MilliValue()
		}
		return q.Value()
	}
	requests := podresource.PodRequests(pod, podresource.PodResourcesOptions{})
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		s := shortage{name: name, requested: count(requests, name), capacity: count(a.allocatable, name)}
		for _, p := range others {
			s.used += count(podresource.PodRequests(p, podresource.PodResourcesOptions{}), name)
		}
		if s.requested > 0 && s.used+s.requested > s.capacity {
			return s, true
		}
	}
	return shortage{}, false
}
