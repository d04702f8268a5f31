package scheduler

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
)

// slim drops what no decision looks at, since everything is kept in memory. Most of it is pods that have their node: of
// those only what they take there, and what they have to do with others, matters.
func slim(obj any) (any, error) {
	if o, err := meta.Accessor(obj); err == nil {
		o.SetManagedFields(nil)
	}
	if p, is := obj.(*corev1.Pod); is && p.Spec.NodeName != "" {
		p.Annotations = nil
		slimContainers(p.Spec.InitContainers)
		slimContainers(p.Spec.Containers)
		p.Spec.EphemeralContainers = nil
		slimStatuses(p.Status.InitContainerStatuses)
		slimStatuses(p.Status.ContainerStatuses)
		p.Status.EphemeralContainerStatuses = nil
		p.Status.Conditions = resizing(p.Status.Conditions)
	}
	return obj, nil
}

func slimContainers(containers []corev1.Container) {
	for i := range containers {
		c := &containers[i]
		containers[i] = corev1.Container{Name: c.Name, Ports: c.Ports, Resources: c.Resources, ResizePolicy: c.ResizePolicy, RestartPolicy: c.RestartPolicy}
	}
}

// slimStatuses keeps what containers have been given, which while they are resized is not what they ask for.
func slimStatuses(statuses []corev1.ContainerStatus) {
	for i := range statuses {
		s := &statuses[i]
		statuses[i] = corev1.ContainerStatus{Name: s.Name, AllocatedResources: s.AllocatedResources, Resources: s.Resources}
	}
}

// resizing keeps the conditions that say how a resize goes.
func resizing(conditions []corev1.PodCondition) []corev1.PodCondition {
	var out []corev1.PodCondition
	for _, c := range conditions {
		if c.Type == corev1.PodResizePending || c.Type == corev1.PodResizeInProgress {
			out = append(out, c)
		}
	}
	return out
}
