package pod

import (
	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/nodeagent/lifecycle"
)

// View is a pod as its worker last saw it. It does not change.
type View struct {
	pod        *corev1.Pod
	sandbox    lifecycle.Sandbox
	hasSandbox bool
	instances  map[string][]lifecycle.Container
}

// Pod is the pod with the status that the node sees.
func (v View) Pod() *corev1.Pod { return v.pod }

// SandboxID of the pod, if its sandbox is up.
func (v View) SandboxID() (string, bool) { return v.sandbox.ID, v.hasSandbox && v.sandbox.Ready }

// Containers lists a container's instances, the newest first.
func (v View) Containers(name string) []lifecycle.Container { return v.instances[name] }

// Running lists the containers that run.
func (v View) Running() []lifecycle.Container {
	var out []lifecycle.Container
	for _, list := range v.instances {
		if len(list) > 0 && list[0].State == lifecycle.Running {
			out = append(out, list[0])
		}
	}
	return out
}

func newView(pod *corev1.Pod, o lifecycle.Observed) *View {
	v := &View{pod: pod, instances: map[string][]lifecycle.Container{}}
	v.sandbox, v.hasSandbox = o.Sandbox()
	for _, c := range o.Containers {
		if v.instances[c.Name] == nil {
			v.instances[c.Name] = o.Instances(c.Name)
		}
	}
	return v
}
