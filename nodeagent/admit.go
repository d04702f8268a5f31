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
	used := corev1.ResourceList{}
	for _, p := range others {
		for name, q := range podresource.PodRequests(p, podresource.PodResourcesOptions{}) {
			sum := used[name]
			sum.Add(q)
			used[name] = sum
		}
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		want := podresource.PodRequests(pod, podresource.PodResourcesOptions{})[name]
		have, taken := a.allocatable[name], used[name]
		taken.Add(want)
		if want.IsZero() || taken.Cmp(have) <= 0 {
			continue
		}
		taken.Sub(want)
		count := func(q interface {
			MilliValue() int64
			Value() int64
		}) int64 {
			if name == corev1.ResourceCPU {
				return q.MilliValue()
			}
			return q.Value()
		}
		return "OutOf" + string(name), fmt.Sprintf("Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", name, count(&want), count(&taken), count(&have)), false
	}
	return "", "", true
}
