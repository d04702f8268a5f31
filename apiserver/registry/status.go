package registry

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"coracle.dev/coracle/apis/resource"
)

// Status serves the /status endpoint of a resource, or another that reads objects and writes a part of
// them: get, update and patch.
type Status struct {
	// Store shares its backend with the resource's main store; its update strategy says which part is written.
	Store *genericregistry.Store
}

var (
	_ rest.Patcher             = &Status{}
	_ rest.ResetFieldsStrategy = &Status{}
	_ rest.TableConvertor      = &Status{}
)

func newStatus(d *resource.Descriptor, main *genericregistry.Store) *Status {
	return NewPart(main, newStrategy(d, statusEndpoint))
}

// partStrategy says which part of an object an endpoint writes.
type partStrategy interface {
	rest.RESTUpdateStrategy
	rest.ResetFieldsStrategy
}

// NewPart makes an endpoint that reads and updates objects of the main store, as /status does, and
// writes the part of them that the strategy lets through.
func NewPart(main *genericregistry.Store, s partStrategy) *Status {
	store := *main
	store.UpdateStrategy, store.ResetFieldsStrategy = s, s
	return &Status{Store: &store}
}

// New implements rest.Storage.
func (s *Status) New() runtime.Object { return s.Store.New() }

// Destroy implements rest.Storage. The main store ends the backend that both share.
func (s *Status) Destroy() {}

// Get implements rest.Getter.
func (s *Status) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return s.Store.Get(ctx, name, options)
}

// Update implements rest.Updater. It never creates.
func (s *Status) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return s.Store.Update(ctx, name, info, create, update, false, options)
}

// GetResetFields implements rest.ResetFieldsStrategy.
func (s *Status) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return s.Store.GetResetFields()
}

// ConvertToTable implements rest.TableConvertor.
func (s *Status) ConvertToTable(ctx context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	return s.Store.ConvertToTable(ctx, obj, options)
}
