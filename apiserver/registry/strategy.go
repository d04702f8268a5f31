package registry

import (
	"context"
	"reflect"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/storage/names"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"coracle.dev/coracle/apis/resource"
)

// endpoint tells the main endpoint of a resource from its /status.
type endpoint int

const (
	mainEndpoint endpoint = iota
	statusEndpoint
)

// strategy is the create, update and delete strategy of every resource.
type strategy struct {
	names.NameGenerator
	d     *resource.Descriptor
	at    endpoint
	reset map[fieldpath.APIVersion]*fieldpath.Set
}

func newStrategy(d *resource.Descriptor, at endpoint) *strategy {
	return &strategy{NameGenerator: names.SimpleNameGenerator, d: d, at: at, reset: resetFields(d, at)}
}

// resetFields are the fields that a write through the endpoint leaves as they were, for each served
// version; server-side apply does not give their ownership to the writer.
func resetFields(d *resource.Descriptor, at endpoint) map[fieldpath.APIVersion]*fieldpath.Set {
	set := fieldpath.NewSet()
	switch {
	case at == statusEndpoint:
		if d.Spec != nil {
			set.Insert(fieldpath.MakePathOrDie("spec"))
		}
		for _, p := range statusKeeps[d.GroupResource()].paths() {
			set.Insert(p)
		}
	case d.HasStatus:
		set.Insert(fieldpath.MakePathOrDie("status"))
	}
	if set.Empty() {
		return nil
	}
	out := make(map[fieldpath.APIVersion]*fieldpath.Set)
	for _, gv := range d.Served() {
		out[fieldpath.APIVersion(gv.String())] = set
	}
	return out
}

// ObjectKinds implements runtime.ObjectTyper: a strategy only ever sees objects of its descriptor.
func (s *strategy) ObjectKinds(runtime.Object) ([]schema.GroupVersionKind, bool, error) {
	return []schema.GroupVersionKind{s.d.GroupVersionKind()}, false, nil
}

// Recognizes implements runtime.ObjectTyper.
func (s *strategy) Recognizes(gvk schema.GroupVersionKind) bool { return gvk == s.d.GroupVersionKind() }

func (s *strategy) NamespaceScoped() bool                         { return !s.d.ClusterScoped }
func (s *strategy) AllowCreateOnUpdate(context.Context) bool      { return s.d.AllowCreateOnUpdate }
func (s *strategy) AllowUnconditionalUpdate(context.Context) bool { return !s.d.RequireResourceVersion }
func (s *strategy) Canonicalize(runtime.Object)                   {}
func (s *strategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return s.reset
}

// PrepareForCreate clears status, starts the generation and runs the descriptor's hook.
func (s *strategy) PrepareForCreate(_ context.Context, obj runtime.Object) {
	if s.d.HasStatus && !statusOnCreate[s.d.GroupResource()] {
		status := reflect.ValueOf(s.d.Status(obj)).Elem()
		if !status.IsZero() {
			status.SetZero()
			s.d.Default(obj) // what defaulting had put into status is wanted there
		}
	}
	if s.keepsGeneration() {
		accessor(obj).SetGeneration(1)
	} else {
		accessor(obj).SetGeneration(0)
	}
	s.d.PrepareForCreate(obj)
}

// PrepareForUpdate isolates spec and status from each other and raises the generation.
func (s *strategy) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	if s.at == statusEndpoint {
		keep(s.d.Spec, obj, old)
		statusKeeps[s.d.GroupResource()].restore(accessor(obj), accessor(old))
	} else if s.d.HasStatus {
		keep(s.d.Status, obj, old)
	}
	s.d.PrepareForUpdate(obj, old)
	if s.at == mainEndpoint && s.keepsGeneration() && !equality.Semantic.DeepEqual(s.d.Spec(obj), s.d.Spec(old)) {
		accessor(obj).SetGeneration(accessor(old).GetGeneration() + 1)
	}
}

func (s *strategy) keepsGeneration() bool { return s.d.Spec != nil && !s.d.NoGeneration }

// keep copies the part of old into obj. The value is shared, which is safe: both are private to one
// request, and the old object is not changed after.
func keep(part func(runtime.Object) any, obj, old runtime.Object) {
	if part == nil {
		return
	}
	reflect.ValueOf(part(obj)).Elem().Set(reflect.ValueOf(part(old)).Elem())
}

// Validate checks metadata and object.
func (s *strategy) Validate(_ context.Context, obj runtime.Object) field.ErrorList {
	errs := validation.ValidateObjectMetaAccessor(accessor(obj), s.NamespaceScoped(), s.d.ValidateName, field.NewPath("metadata"))
	return append(errs, s.d.Validate(obj)...)
}

// ValidateUpdate checks the transition; the generic code has checked the metadata.
func (s *strategy) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	if s.at == statusEndpoint {
		return s.d.ValidateStatusUpdate(obj, old)
	}
	return s.d.ValidateUpdate(obj, old)
}

func (s *strategy) WarningsOnCreate(_ context.Context, obj runtime.Object) []string {
	return s.d.Warnings(obj)
}

// WarningsOnUpdate repeats the warnings of a create, but not for writes to /status, whose author did
// not write what they are about.
func (s *strategy) WarningsOnUpdate(_ context.Context, obj, old runtime.Object) []string {
	if s.at == statusEndpoint || accessor(obj).GetGeneration() == accessor(old).GetGeneration() && s.keepsGeneration() {
		return nil
	}
	return s.d.Warnings(obj)
}

// accessor returns the metadata of an object of the catalog, all of which have some.
func accessor(obj runtime.Object) metav1.Object {
	m, err := meta.Accessor(obj)
	if err != nil {
		panic(err) // a descriptor of a type that is no API object
	}
	return m
}
