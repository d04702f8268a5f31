package pod

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateResize returns every fault of a write to /resize: amounts of cpu and memory can change there,
// of containers that go on running, and not so that the pod gets into another class of service.
func ValidateResize(p, old *corev1.Pod) field.ErrorList {
	path := field.NewPath("spec")
	switch _, static := old.Annotations[corev1.MirrorPodAnnotationKey]; {
	case static:
		return field.ErrorList{field.Forbidden(field.NewPath(""), "static pods cannot be resized")}
	case old.Spec.OS != nil && old.Spec.OS.Name == corev1.Windows:
		return field.ErrorList{field.Forbidden(field.NewPath(""), "windows pods cannot be resized")}
	}
	errs := ValidateSpec(&p.Spec, &p.ObjectMeta, path)
	if old.Status.Phase == corev1.PodSucceeded || old.Status.Phase == corev1.PodFailed {
		errs = append(errs, field.Forbidden(path, "pods that have finished cannot be resized"))
	}
	if class := ComputeQOSClass(&p.Spec); class != QOSClass(old) {
		errs = append(errs, field.Invalid(path, class, "Pod QOS Class may not change as a result of resizing"))
	}
	others, inits := false, false
	for i := range p.Spec.Containers {
		now, was := &p.Spec.Containers[i].Resources, &old.Spec.Containers[i].Resources
		errs = append(errs, checkKept(path.Child("containers").Index(i).Child("resources"), now, was)...)
		others = others || !sameBesideCompute(now, was)
	}
	for i := range p.Spec.InitContainers {
		c, was := &p.Spec.InitContainers[i], &old.Spec.InitContainers[i].Resources
		if !IsSidecar(c) {
			inits = inits || !equality.Semantic.DeepEqual(c.Resources, *was)
			continue
		}
		errs = append(errs, checkKept(path.Child("initContainers").Index(i).Child("resources"), &c.Resources, was)...)
		inits = inits || !sameBesideCompute(&c.Resources, was)
	}
	if p.Spec.Resources != nil && old.Spec.Resources != nil {
		errs = append(errs, checkKept(path.Child("resources"), p.Spec.Resources, old.Spec.Resources)...)
		others = others || !sameBesideCompute(p.Spec.Resources, old.Spec.Resources)
	} else if !equality.Semantic.DeepEqual(p.Spec.Resources, old.Spec.Resources) {
		errs = append(errs, field.Forbidden(path.Child("resources"), "pod level resources can be neither added nor removed"))
	}
	if others {
		errs = append(errs, field.Forbidden(path, "only cpu and memory resources are mutable"))
	}
	if inits {
		errs = append(errs, field.Forbidden(path, "only cpu and memory resources for sidecar containers are mutable"))
	}
	return errs
}

// checkKept: what is requested or limited stays so.
func checkKept(path *field.Path, now, was *corev1.ResourceRequirements) field.ErrorList {
	gone := func(now, was corev1.ResourceList) bool {
		for _, n := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			if _, had := was[n]; had {
				if _, has := now[n]; !has {
					return true
				}
			}
		}
		return false
	}
	var errs field.ErrorList
	if gone(now.Requests, was.Requests) {
		errs = append(errs, field.Forbidden(path.Child("requests"), "resource requests cannot be removed"))
	}
	if gone(now.Limits, was.Limits) {
		errs = append(errs, field.Forbidden(path.Child("limits"), "resource limits cannot be removed"))
	}
	return errs
}

// sameBesideCompute compares all that is not an amount of cpu or memory.
func sameBesideCompute(now, was *corev1.ResourceRequirements) bool {
	rest := func(r *corev1.ResourceRequirements) *corev1.ResourceRequirements {
		out := r.DeepCopy()
		for _, list := range []corev1.ResourceList{out.Requests, out.Limits} {
			delete(list, corev1.ResourceCPU)
			delete(list, corev1.ResourceMemory)
		}
		return out
	}
	return equality.Semantic.DeepEqual(rest(now), rest(was))
}
