package pod

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apiserver/registry"
)

// NewEphemeralContainers makes the storage of pods/ephemeralcontainers.
func NewEphemeralContainers(s *registry.Storage) *registry.Status {
	return newPart(s, takeEphemeralContainers, checkEphemeralContainers)
}

// NewResize makes the storage of pods/resize.
func NewResize(s *registry.Storage) *registry.Status {
	return newPart(s, takeResources, checkResources)
}

// newPart makes a subresource through which one part of the spec can be written, and no other.
func newPart(s *registry.Storage, take func(to, from *corev1.Pod), check func(obj, old *corev1.Pod) field.ErrorList) *registry.Status {
	return registry.NewPart(s.Store, &partStrategy{RESTUpdateStrategy: s.UpdateStrategy, take: take, check: check})
}

type partStrategy struct {
	rest.RESTUpdateStrategy
	take  func(to, from *corev1.Pod)
	check func(obj, old *corev1.Pod) field.ErrorList
}

// GetResetFields implements rest.ResetFieldsStrategy.
func (s *partStrategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return map[fieldpath.APIVersion]*fieldpath.Set{"v1": fieldpath.NewSet(fieldpath.MakePathOrDie("status"))}
}

// PrepareForUpdate leaves of obj what may be written here, and takes all else from old.
func (s *partStrategy) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	p, o := obj.(*corev1.Pod), old.(*corev1.Pod)
	sent := p.DeepCopy()
	o.DeepCopyInto(p)
	p.ResourceVersion, p.ManagedFields = sent.ResourceVersion, sent.ManagedFields
	s.take(p, sent)
	if !equality.Semantic.DeepEqual(p.Spec, o.Spec) {
		p.Generation = o.Generation + 1
	}
}

// ValidateUpdate checks the transition, then the whole specification that results.
func (s *partStrategy) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	p := obj.(*corev1.Pod)
	if errs := s.check(p, old.(*corev1.Pod)); len(errs) > 0 {
		return errs
	}
	return pod.ValidateSpec(&p.Spec, &p.ObjectMeta, field.NewPath("spec"))
}

// WarningsOnUpdate implements rest.RESTUpdateStrategy; the parts have none of their own.
func (s *partStrategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

func takeEphemeralContainers(to, from *corev1.Pod) {
	to.Spec.EphemeralContainers = from.Spec.EphemeralContainers
}

// checkEphemeralContainers: they can be added, neither changed nor removed.
func checkEphemeralContainers(obj, old *corev1.Pod) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("spec", "ephemeralContainers")
	if _, static := old.Annotations[corev1.MirrorPodAnnotationKey]; static {
		errs = append(errs, field.Forbidden(path, "static pods do not support ephemeral containers"))
	}
	now := map[string]*corev1.EphemeralContainer{}
	for i := range obj.Spec.EphemeralContainers {
		now[obj.Spec.EphemeralContainers[i].Name] = &obj.Spec.EphemeralContainers[i]
	}
	for i := range old.Spec.EphemeralContainers {
		before := &old.Spec.EphemeralContainers[i]
		switch after, ok := now[before.Name]; {
		case !ok:
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("existing ephemeral containers %q may not be removed\n", before.Name)))
		case !equality.Semantic.DeepEqual(before, after):
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("existing ephemeral containers %q may not be changed\n", before.Name)))
		}
	}
	return errs
}

// takeResources takes resources and resize policies of containers that exist.
func takeResources(to, from *corev1.Pod) {
	copyResources := func(to, from []corev1.Container) {
		sent := map[string]*corev1.Container{}
		for i := range from {
			sent[from[i].Name] = &from[i]
		}
		for i := range to {
			if c, ok := sent[to[i].Name]; ok {
				to[i].Resources, to[i].ResizePolicy = c.Resources, c.ResizePolicy
			}
		}
	}
	copyResources(to.Spec.Containers, from.Spec.Containers)
	copyResources(to.Spec.InitContainers, from.Spec.InitContainers)
	to.Spec.Resources = from.Spec.Resources
}

// checkResources: cpu and memory can change, unless that moves the pod into another class of service.
func checkResources(obj, old *corev1.Pod) field.ErrorList {
	var errs field.ErrorList
	spec := field.NewPath("spec")
	if _, static := old.Annotations[corev1.MirrorPodAnnotationKey]; static {
		errs = append(errs, field.Forbidden(spec, "static pods cannot be resized"))
	}
	if old.Status.Phase == corev1.PodSucceeded || old.Status.Phase == corev1.PodFailed {
		errs = append(errs, field.Forbidden(spec, "pods that have finished cannot be resized"))
	}
	if pod.ComputeQOSClass(&obj.Spec) != pod.ComputeQOSClass(&old.Spec) {
		errs = append(errs, field.Invalid(spec, pod.ComputeQOSClass(&obj.Spec), "Pod QOS Class may not change as a result of resizing"))
	}
	errs = append(errs, checkContainerResources(obj.Spec.Containers, old.Spec.Containers, false, spec.Child("containers"))...)
	return append(errs, checkContainerResources(obj.Spec.InitContainers, old.Spec.InitContainers, true, spec.Child("initContainers"))...)
}

func checkContainerResources(obj, old []corev1.Container, init bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range obj {
		at := path.Index(i).Child("resources")
		before, after := &old[i], &obj[i]
		changed := !equality.Semantic.DeepEqual(before.Resources, after.Resources)
		if init && changed && (after.RestartPolicy == nil || *after.RestartPolicy != corev1.ContainerRestartPolicyAlways) {
			errs = append(errs, field.Forbidden(at, "only restartable init containers (sidecars) can be resized"))
			continue
		}
		errs = append(errs, checkList(after.Resources.Requests, before.Resources.Requests, at.Child("requests"))...)
		errs = append(errs, checkList(after.Resources.Limits, before.Resources.Limits, at.Child("limits"))...)
	}
	return errs
}

// checkList compares two resource lists: only cpu and memory may differ, and neither may vanish.
func checkList(obj, old corev1.ResourceList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	mutable := func(name corev1.ResourceName) bool {
		return name == corev1.ResourceCPU || name == corev1.ResourceMemory
	}
	for name, was := range old {
		switch is, ok := obj[name]; {
		case !ok:
			errs = append(errs, field.Forbidden(path.Key(string(name)), "resource requests and limits cannot be removed"))
		case !mutable(name) && is.Cmp(was) != 0:
			errs = append(errs, field.Forbidden(path.Key(string(name)), "only cpu and memory resources are mutable"))
		}
	}
	for name := range obj {
		if _, ok := old[name]; !ok && !mutable(name) {
			errs = append(errs, field.Forbidden(path.Key(string(name)), "only cpu and memory resources are mutable"))
		}
	}
	return errs
}
