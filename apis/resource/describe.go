package resource

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Describe erases the type of r.
func (r Resource[T]) Describe() *Descriptor {
	d := &Descriptor{
		Version: r.Version, AlsoServed: r.AlsoServed,
		Kind: r.Kind, Plural: r.Plural, Singular: r.Singular,
		ShortNames: r.ShortNames, Categories: r.Categories,
		ClusterScoped: r.ClusterScoped, NoGeneration: r.NoGeneration, StoredAs: r.StoredAs,
		HasStatus: r.Status != nil && !r.NoStatus,
		New:       func() runtime.Object { return r.New() },
		NewList:   r.NewList,
		Spec:      accessor(r.Spec), Status: accessor(r.Status),
		Default:              one(r.Default),
		PrepareForCreate:     one(r.PrepareForCreate),
		PrepareForUpdate:     pair(r.PrepareForUpdate),
		Validate:             check(r.Validate),
		ValidateUpdate:       transition(r.ValidateUpdate),
		ValidateStatusUpdate: transition(r.ValidateStatusUpdate),
		ValidateName:         r.ValidateName,
		FieldNames:           r.FieldNames, FieldAliases: r.FieldAliases, Indexed: r.Indexed,
		AllowCreateOnUpdate: r.AllowCreateOnUpdate, RequireResourceVersion: r.RequireResourceVersion,
	}
	if d.Singular == "" {
		d.Singular = strings.ToLower(r.Kind)
	}
	if d.ValidateName == nil {
		d.ValidateName = validation.NameIsDNSSubdomain
	}
	d.Warnings = func(o runtime.Object) []string {
		if r.Warnings == nil {
			return nil
		}
		return r.Warnings(o.(T))
	}
	d.Fields = func(o runtime.Object) fields.Set {
		if r.Fields == nil {
			return nil
		}
		return r.Fields(o.(T))
	}
	for _, c := range r.Columns {
		d.Columns = append(d.Columns, Column[runtime.Object]{
			Name: c.Name, Type: c.Type, Format: c.Format, Description: c.Description, Priority: c.Priority,
			Value: func(o runtime.Object) any { return c.Value(o.(T)) },
		})
	}
	if s := r.Scale; s != nil {
		d.Scale = &Scale[runtime.Object]{
			Replicas:       func(o runtime.Object) int32 { return s.Replicas(o.(T)) },
			SetReplicas:    func(o runtime.Object, n int32) { s.SetReplicas(o.(T), n) },
			StatusReplicas: func(o runtime.Object) int32 { return s.StatusReplicas(o.(T)) },
			Selector:       func(o runtime.Object) string { return s.Selector(o.(T)) },
		}
	}
	return d
}

func accessor[T Object](f func(T) any) func(runtime.Object) any {
	if f == nil {
		return nil
	}
	return func(o runtime.Object) any { return f(o.(T)) }
}

func one[T Object](f func(T)) func(runtime.Object) {
	if f == nil {
		return func(runtime.Object) {}
	}
	return func(o runtime.Object) { f(o.(T)) }
}

func pair[T Object](f func(obj, old T)) func(obj, old runtime.Object) {
	if f == nil {
		return func(runtime.Object, runtime.Object) {}
	}
	return func(obj, old runtime.Object) { f(obj.(T), old.(T)) }
}

func check[T Object](f func(T) field.ErrorList) func(runtime.Object) field.ErrorList {
	if f == nil {
		return func(runtime.Object) field.ErrorList { return nil }
	}
	return func(o runtime.Object) field.ErrorList { return f(o.(T)) }
}

func transition[T Object](f func(obj, old T) field.ErrorList) func(obj, old runtime.Object) field.ErrorList {
	if f == nil {
		return func(runtime.Object, runtime.Object) field.ErrorList { return nil }
	}
	return func(obj, old runtime.Object) field.ErrorList { return f(obj.(T), old.(T)) }
}
