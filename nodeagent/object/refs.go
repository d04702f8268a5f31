package object

import corev1 "k8s.io/api/core/v1"

// Refs lists the config maps and secrets that a pod refers to, anywhere.
func Refs(pod *corev1.Pod) []Ref {
	c := collector{namespace: pod.Namespace, seen: map[Ref]bool{}}
	for _, s := range pod.Spec.ImagePullSecrets {
		c.add(Secret, s.Name)
	}
	for i := range pod.Spec.InitContainers {
		c.env(pod.Spec.InitContainers[i].Env, pod.Spec.InitContainers[i].EnvFrom)
	}
	for i := range pod.Spec.Containers {
		c.env(pod.Spec.Containers[i].Env, pod.Spec.Containers[i].EnvFrom)
	}
	for i := range pod.Spec.EphemeralContainers {
		c.env(pod.Spec.EphemeralContainers[i].Env, pod.Spec.EphemeralContainers[i].EnvFrom)
	}
	for i := range pod.Spec.Volumes {
		c.volume(&pod.Spec.Volumes[i])
	}
	return c.refs
}

type collector struct {
	namespace string
	seen      map[Ref]bool
	refs      []Ref
}

func (c *collector) add(k Kind, name string) {
	r := Ref{k, c.namespace, name}
	if name == "" || c.seen[r] {
		return
	}
	c.seen[r] = true
	c.refs = append(c.refs, r)
}

func (c *collector) env(env []corev1.EnvVar, from []corev1.EnvFromSource) {
	for _, f := range from {
		if f.ConfigMapRef != nil {
			c.add(ConfigMap, f.ConfigMapRef.Name)
		}
		if f.SecretRef != nil {
			c.add(Secret, f.SecretRef.Name)
		}
	}
	for _, e := range env {
		if e.ValueFrom == nil {
			continue
		}
		if r := e.ValueFrom.ConfigMapKeyRef; r != nil {
			c.add(ConfigMap, r.Name)
		}
		if r := e.ValueFrom.SecretKeyRef; r != nil {
			c.add(Secret, r.Name)
		}
	}
}

func (c *collector) volume(v *corev1.Volume) {
	switch {
	case v.ConfigMap != nil:
		c.add(ConfigMap, v.ConfigMap.Name)
	case v.Secret != nil:
		c.add(Secret, v.Secret.SecretName)
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			if s.ConfigMap != nil {
				c.add(ConfigMap, s.ConfigMap.Name)
			}
			if s.Secret != nil {
				c.add(Secret, s.Secret.Name)
			}
		}
	}
}
