package lifecycle

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"coracle.dev/coracle/nodeagent/spec"
)

// Resources are those of a pod's resizable containers, by name: app containers
// and sidecars.
type Resources map[string]corev1.ResourceRequirements

// Equal compares quantities by their values.
func (r Resources) Equal(other Resources) bool {
	return maps.EqualFunc(r, other, func(a, b corev1.ResourceRequirements) bool { return sameResources(a, b) })
}

func sameResources(a, b corev1.ResourceRequirements) bool {
	return equality.Semantic.DeepEqual(a.Requests, b.Requests) && equality.Semantic.DeepEqual(a.Limits, b.Limits)
}

// DesiredResources are what the pod's definition asks for.
func DesiredResources(pod *corev1.Pod) Resources {
	r := Resources{}
	eachResizable(&pod.Spec, func(c *corev1.Container) { r[c.Name] = c.Resources })
	return r
}

// AllocatedResources are what the pod's containers were given, as far as its
// status tells; for others, what the definition asks for.
func AllocatedResources(pod *corev1.Pod) Resources {
	r := DesiredResources(pod)
	for name, desired := range r {
		if s := oldStatus(pod, name); s != nil && s.State.Running != nil && s.Resources != nil {
			desired.Requests, desired.Limits = s.Resources.Requests, s.Resources.Limits
			r[name] = desired
		}
	}
	return r
}

// WithResources is the pod with its containers given r.
func WithResources(pod *corev1.Pod, r Resources) *corev1.Pod {
	if r.Equal(DesiredResources(pod)) {
		return pod
	}
	out := *pod
	out.Spec = *pod.Spec.DeepCopy()
	eachResizable(&out.Spec, func(c *corev1.Container) {
		if given, ok := r[c.Name]; ok {
			c.Resources = given
		}
	})
	return &out
}

func eachResizable(s *corev1.PodSpec, do func(*corev1.Container)) {
	for i := range s.InitContainers {
		if spec.IsSidecar(&s.InitContainers[i]) {
			do(&s.InitContainers[i])
		}
	}
	for i := range s.Containers {
		do(&s.Containers[i])
	}
}

// Change is a running container that has other resources than it shall have.
type Change struct {
	Container  Container
	Definition *corev1.Container
	// Restart means that the change takes effect by a new instance only.
	Restart bool
}

// Changes compares what running containers have, by id, with the pod's
// definition.
func Changes(pod *corev1.Pod, o Observed, actual map[string]corev1.ResourceRequirements) []Change {
	var out []Change
	eachResizable(&pod.Spec, func(c *corev1.Container) {
		last, ok := o.Newest(c.Name)
		has, known := actual[last.ID]
		if !ok || !known || last.State != Running || sameResources(has, c.Resources) {
			return
		}
		out = append(out, Change{Container: last, Definition: c, Restart: restartsOnResize(c, has)})
	})
	return out
}

// restartsOnResize tells whether a resource that changes is one that the
// container wants to be restarted for.
func restartsOnResize(c *corev1.Container, has corev1.ResourceRequirements) bool {
	differs := func(name corev1.ResourceName) bool {
		for _, lists := range [][2]corev1.ResourceList{{has.Requests, c.Resources.Requests}, {has.Limits, c.Resources.Limits}} {
			before, after := lists[0][name], lists[1][name]
			if before.Cmp(after) != 0 {
				return true
			}
		}
		return false
	}
	for _, p := range c.ResizePolicy {
		if p.RestartPolicy == corev1.RestartContainer && differs(p.ResourceName) {
			return true
		}
	}
	return false
}

// Resize is how far a change of a pod's resources has come.
type Resize struct {
	// PendingReason and PendingMessage say why the node does not do what the
	// definition asks for; empty means that it does.
	PendingReason, PendingMessage string
	// InProgress means that containers do not have yet what they shall have,
	// Error why the last attempt failed.
	InProgress bool
	Error      string
}

// resizeConditions are there only while they are true.
func (in *StatusInput) resizeConditions(s *corev1.PodStatus) {
	r := in.Resize
	in.setOrRemove(s, corev1.PodResizePending, r.PendingReason != "", verdict{ok: true, reason: r.PendingReason, message: r.PendingMessage})
	progress := verdict{ok: true, message: r.Error}
	if r.Error != "" {
		progress.reason = corev1.PodReasonError
	}
	in.setOrRemove(s, corev1.PodResizeInProgress, r.InProgress, progress)
}

func (in *StatusInput) setOrRemove(s *corev1.PodStatus, t corev1.PodConditionType, present bool, v verdict) {
	if present {
		in.set(s, t, v)
		return
	}
	var kept []corev1.PodCondition
	for _, c := range s.Conditions {
		if c.Type != t {
			kept = append(kept, c)
		}
	}
	s.Conditions = kept
}
