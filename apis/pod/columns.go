package pod

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/apis/resource"
)

// ContainerColumns are the wide columns of everything with a pod template.
func ContainerColumns[T resource.Object](spec func(T) *corev1.PodSpec) []resource.Column[T] {
	return []resource.Column[T]{
		resource.Text("Containers", func(o T) any {
			return join(spec(o), func(c *corev1.Container) string { return c.Name })
		}).Wide(),
		resource.Text("Images", func(o T) any {
			return join(spec(o), func(c *corev1.Container) string { return c.Image })
		}).Wide(),
	}
}

func join(s *corev1.PodSpec, f func(*corev1.Container) string) string {
	if s == nil {
		return ""
	}
	parts := make([]string, len(s.Containers))
	for i := range s.Containers {
		parts[i] = f(&s.Containers[i])
	}
	return strings.Join(parts, ",")
}
