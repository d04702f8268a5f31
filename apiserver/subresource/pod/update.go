package pod

import (
	"context"

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
	return newPart(s, takeEphemeralContainers, pod.ValidateEphemeralUpdate)
}

// NewResize makes the storage of pods/resize.
func NewResize(s *registry.Storage) *registry.Status {
	return newPart(s, takeResources, pod.ValidateResize)
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

// ValidateUpdate checks the transition, and with it the specification that results.
func (s *partStrategy) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	return s.check(obj.(*corev1.Pod), old.(*corev1.Pod))
}

// WarningsOnUpdate implements rest.RESTUpdateStrategy; the parts have none of their own.
func (s *partStrategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

func takeEphemeralContainers(to, from *corev1.Pod) {
	to.Spec.EphemeralContainers = from.Spec.EphemeralContainers
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
