// Package resource defines the descriptor by which every built-in API resource is declared.
//
// A Resource states what a resource is: its names, where its spec and status are, how it is
// defaulted and validated, what its table columns show. It holds no storage, no client and no
// clock. The API server derives strategy, endpoints and table output from it, so that a resource
// is added by declaring it and listing it in the catalog.
//
// Invariants: hooks never keep or return references to their arguments, never block, and never
// fail other than through the error list they return. The package depends on apimachinery alone.
package resource

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Object is a pointer to an API type, such as *corev1.Pod.
type Object interface {
	runtime.Object
	metav1.Object
}

// Resource declares one resource of type T. Zero fields mean "none" unless they say otherwise.
type Resource[T Object] struct {
	// Version is the version whose Go types are the hub: stored, and handed to every hook.
	Version schema.GroupVersion
	// AlsoServed are further versions of the same group; the scheme holds their conversions.
	AlsoServed []schema.GroupVersion
	// Kind, Plural and Singular name the resource. Singular defaults to the lower-case kind.
	Kind, Plural, Singular string
	// ShortNames and Categories are what kubectl accepts in place of Plural.
	ShortNames, Categories []string
	// ClusterScoped resources have no namespace.
	ClusterScoped bool
	// NoStatus omits the /status endpoint even where Status is set.
	NoStatus bool
	// NoGeneration keeps no metadata.generation even where Spec is set, as Kubernetes does for
	// Services, Nodes and the like.
	NoGeneration bool
	// StoredAs names the resource of another group that this one is a second view of: both are
	// served from one store, with T as the hub type of both groups. Empty means a store of its own.
	StoredAs schema.GroupResource

	// New and NewList return empty objects.
	New     func() T
	NewList func() runtime.Object

	// Spec and Status return pointers to the parts that /status isolates from each other. A change
	// of Spec raises metadata.generation; a resource without Spec keeps no generation.
	Spec, Status func(T) any

	// Default fills absent fields. It is idempotent.
	Default func(T)
	// PrepareForCreate runs after defaulting and admission, before validation.
	PrepareForCreate func(T)
	// PrepareForUpdate may carry fields over from old; Spec or Status isolation is done already.
	PrepareForUpdate func(obj, old T)
	// Validate returns every fault of a new object, beyond its metadata's.
	Validate func(T) field.ErrorList
	// ValidateUpdate returns every fault of a transition. Validate(obj) is not called with it.
	ValidateUpdate func(obj, old T) field.ErrorList
	// ValidateStatusUpdate returns the faults of a write to /status.
	ValidateStatusUpdate func(obj, old T) field.ErrorList
	// ValidateName returns what is wrong with a name; nil means NameIsDNSSubdomain.
	ValidateName func(name string, prefix bool) []string
	// Warnings returns texts for the Warning response headers.
	Warnings func(T) []string

	// Columns are what kubectl get prints. The default is Name and Age.
	Columns []Column[T]
	// Fields returns selectable fields beyond metadata.name and metadata.namespace; FieldNames
	// lists their keys.
	Fields     func(T) fields.Set
	FieldNames []string
	// FieldAliases maps further labels accepted in field selectors to keys of Fields.
	FieldAliases map[string]string
	// Indexed names the one selectable field by which watches are indexed.
	Indexed string
	// Scale makes the /scale endpoint.
	Scale *Scale[T]

	// AllowCreateOnUpdate lets PUT create the object.
	AllowCreateOnUpdate bool
	// RequireResourceVersion refuses updates that carry no resourceVersion.
	RequireResourceVersion bool
}

// Column is one column of the Table representation.
type Column[T any] struct {
	Name, Type, Format, Description string
	// Priority is 0 for columns that are always shown, 1 for those of -o wide.
	Priority int32
	// Value returns a string, an int64, a bool, a metav1.Time, which is shown as its age, or an Aged.
	Value func(T) any
}

// Scale maps a resource to autoscaling/v1 Scale. Selector is in string form.
type Scale[T any] struct {
	Replicas       func(T) int32
	SetReplicas    func(T, int32)
	StatusReplicas func(T) int32
	Selector       func(T) string
}

// Descriptor is a Resource with its type erased: what the API server works with. Hooks are never
// nil; they panic when handed an object of another type.
type Descriptor struct {
	Version                schema.GroupVersion
	AlsoServed             []schema.GroupVersion
	Kind, Plural, Singular string
	ShortNames, Categories []string
	ClusterScoped          bool
	HasStatus              bool
	// NoGeneration: metadata.generation is not kept, although Spec may be set.
	NoGeneration bool
	// StoredAs is empty where the resource has a store of its own.
	StoredAs schema.GroupResource

	New     func() runtime.Object
	NewList func() runtime.Object

	// Spec and Status are nil where the resource has none.
	Spec, Status func(runtime.Object) any

	Default              func(runtime.Object)
	PrepareForCreate     func(runtime.Object)
	PrepareForUpdate     func(obj, old runtime.Object)
	Validate             func(runtime.Object) field.ErrorList
	ValidateUpdate       func(obj, old runtime.Object) field.ErrorList
	ValidateStatusUpdate func(obj, old runtime.Object) field.ErrorList
	ValidateName         func(name string, prefix bool) []string
	Warnings             func(runtime.Object) []string

	Columns    []Column[runtime.Object]
	Fields     func(runtime.Object) fields.Set
	FieldNames []string
	// FieldAliases maps further selector labels to keys of Fields.
	FieldAliases map[string]string
	Indexed      string
	// Scale is nil where the resource has no /scale.
	Scale *Scale[runtime.Object]

	AllowCreateOnUpdate    bool
	RequireResourceVersion bool
}

// GroupResource names the resource without its version.
func (d *Descriptor) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: d.Version.Group, Resource: d.Plural}
}

// GroupVersionKind is the hub's.
func (d *Descriptor) GroupVersionKind() schema.GroupVersionKind { return d.Version.WithKind(d.Kind) }

// Served lists all versions, the hub first.
func (d *Descriptor) Served() []schema.GroupVersion {
	return append([]schema.GroupVersion{d.Version}, d.AlsoServed...)
}
