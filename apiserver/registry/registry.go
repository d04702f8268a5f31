// Package registry turns a resource descriptor into the storage that the API server installs: one
// strategy, one status endpoint, one scale endpoint and one table convertor serve every resource.
//
// It owns what Kubernetes keeps the same for all resources: names and metadata, generation, the
// isolation of spec and status from each other, field ownership resets, deletion grace of pods,
// selectors, and table output. What a resource is, its descriptor says; custom behaviour wraps the
// Storage or sets hooks of its Store before it is installed.
//
// Invariants: an object handed to a descriptor's hook is of the hub type; a write to the main
// endpoint never changes status, a write to /status never changes spec.
//
// Differences from Kubernetes: a create clears status in all resources that have a /status endpoint,
// save those on the list in lifecycle.go.
package registry

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/client-go/tools/cache"

	"coracle.dev/coracle/apis/resource"
)

// Storage is what serves one resource. It is itself the rest.Storage of the main endpoint.
type Storage struct {
	*genericregistry.Store
	// Status serves /status, Scale serves /scale; each is nil where there is none.
	Status *Status
	Scale  *Scale

	descriptor *resource.Descriptor
}

var (
	_ rest.StandardStorage      = &Storage{}
	_ rest.ShortNamesProvider   = &Storage{}
	_ rest.CategoriesProvider   = &Storage{}
	_ rest.SingularNameProvider = &Storage{}
	_ rest.ResetFieldsStrategy  = &Storage{}
)

// Option changes the store of one resource before it is completed.
type Option func(*genericregistry.Store)

// New makes the storage of d. Its Store is complete: hooks may still be set on it, its key functions
// and its backend are fixed. A descriptor with StoredAs has no storage of its own; use View.
func New(d *resource.Descriptor, getter generic.RESTOptionsGetter, opts ...Option) (*Storage, error) {
	if !d.StoredAs.Empty() {
		return nil, fmt.Errorf("making storage of %s: it is a view of %s", d.GroupResource(), d.StoredAs)
	}
	main := newStrategy(d, mainEndpoint)
	store := &genericregistry.Store{
		NewFunc:                   d.New,
		NewListFunc:               d.NewList,
		DefaultQualifiedResource:  d.GroupResource(),
		SingularQualifiedResource: schema.GroupResource{Group: d.Version.Group, Resource: d.Singular},
		PredicateFunc:             predicate(d),
		CreateStrategy:            main,
		UpdateStrategy:            main,
		DeleteStrategy:            deleteStrategy(d, main),
		ResetFieldsStrategy:       main,
		TableConvertor:            newTable(d),
		ReturnDeletedObject:       returnsDeleted[d.GroupResource()],
	}
	for _, o := range opts {
		o(store)
	}
	options := &generic.StoreOptions{RESTOptions: getter, AttrFunc: attributes(d)}
	if d.Indexed != "" {
		options.TriggerFunc = storage.IndexerFuncs{d.Indexed: indexed(d)}
		options.Indexers = indexers(d)
	}
	if err := store.CompleteWithOptions(options); err != nil {
		return nil, fmt.Errorf("making storage of %s: %w", d.GroupResource(), err)
	}
	return around(d, store), nil
}

// View serves the objects of s under d, a descriptor of another group that names s in StoredAs.
func (s *Storage) View(d *resource.Descriptor) *Storage {
	store := *s.Store
	store.TableConvertor = newTable(d)
	store.SingularQualifiedResource = schema.GroupResource{Group: d.Version.Group, Resource: d.Singular}
	main := newStrategy(d, mainEndpoint)
	store.CreateStrategy, store.UpdateStrategy, store.ResetFieldsStrategy = main, main, main
	store.DeleteStrategy = deleteStrategy(d, main)
	return around(d, &store)
}

func around(d *resource.Descriptor, store *genericregistry.Store) *Storage {
	s := &Storage{Store: store, descriptor: d}
	if d.HasStatus {
		s.Status = newStatus(d, store)
	}
	if d.Scale != nil {
		s.Scale = &Scale{store: store, descriptor: d, paths: replicasPaths(d)}
	}
	return s
}

// Descriptor is what the storage was made of.
func (s *Storage) Descriptor() *resource.Descriptor { return s.descriptor }

// ShortNames implements rest.ShortNamesProvider.
func (s *Storage) ShortNames() []string { return s.descriptor.ShortNames }

// Categories implements rest.CategoriesProvider.
func (s *Storage) Categories() []string { return s.descriptor.Categories }

// AddTo puts the storage and its subresources into the storage map of one API version.
func (s *Storage) AddTo(m map[string]rest.Storage) {
	name := s.descriptor.Plural
	m[name] = s
	if s.Status != nil {
		m[name+"/status"] = s.Status
	}
	if s.Scale != nil {
		m[name+"/scale"] = s.Scale
	}
}

// attributes returns what selectors see of an object of d.
func attributes(d *resource.Descriptor) storage.AttrFunc {
	return func(obj runtime.Object) (labels.Set, fields.Set, error) {
		m, err := meta.Accessor(obj)
		if err != nil {
			return nil, nil, err
		}
		set := d.Fields(obj)
		if set == nil {
			set = make(fields.Set, 2)
		}
		set["metadata.name"] = m.GetName()
		if !d.ClusterScoped {
			set["metadata.namespace"] = m.GetNamespace()
		}
		return m.GetLabels(), set, nil
	}
}

func predicate(d *resource.Descriptor) func(labels.Selector, fields.Selector) storage.SelectionPredicate {
	attrs := attributes(d)
	var index []string
	if d.Indexed != "" {
		index = []string{d.Indexed}
	}
	return func(l labels.Selector, f fields.Selector) storage.SelectionPredicate {
		return storage.SelectionPredicate{Label: l, Field: f, GetAttrs: attrs, IndexFields: index}
	}
}

func indexed(d *resource.Descriptor) storage.IndexerFunc {
	if d.Indexed == "metadata.name" {
		return func(obj runtime.Object) string {
			m, err := meta.Accessor(obj)
			if err != nil {
				return ""
			}
			return m.GetName()
		}
	}
	return func(obj runtime.Object) string { return d.Fields(obj)[d.Indexed] }
}

// indexers let the watch cache answer lists by the indexed field without walking all objects. A name
// is the key already and needs none.
func indexers(d *resource.Descriptor) *cache.Indexers {
	if d.Indexed == "metadata.name" {
		return nil
	}
	value := indexed(d)
	return &cache.Indexers{
		storage.FieldIndex(d.Indexed): func(obj any) ([]string, error) {
			o, ok := obj.(runtime.Object)
			if !ok {
				return nil, fmt.Errorf("indexing %s: unexpected %T", d.GroupResource(), obj)
			}
			return []string{value(o)}, nil
		},
	}
}
