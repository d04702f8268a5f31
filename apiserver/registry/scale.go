package registry

import (
	"context"
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"coracle.dev/coracle/apis/resource"
)

// Scale serves the /scale endpoint of a resource as autoscaling/v1 Scale.
type Scale struct {
	store      *genericregistry.Store
	descriptor *resource.Descriptor
	paths      managedfields.ResourcePathMappings
}

var (
	_ rest.Patcher                  = &Scale{}
	_ rest.GroupVersionKindProvider = &Scale{}
	_ rest.TableConvertor           = &Scale{}
)

// replicasPaths says where each served version keeps the replicas.
func replicasPaths(d *resource.Descriptor) managedfields.ResourcePathMappings {
	m := managedfields.ResourcePathMappings{}
	for _, gv := range d.Served() {
		m[gv.String()] = fieldpath.MakePathOrDie("spec", "replicas")
	}
	return m
}

// GroupVersionKind implements rest.GroupVersionKindProvider.
func (s *Scale) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind {
	return autoscalingv1.SchemeGroupVersion.WithKind("Scale")
}

// New implements rest.Storage.
func (s *Scale) New() runtime.Object { return &autoscalingv1.Scale{} }

// Destroy implements rest.Storage. The main store ends the backend that both share.
func (s *Scale) Destroy() {}

// Get implements rest.Getter.
func (s *Scale) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	obj, err := s.store.Get(ctx, name, options)
	if err != nil {
		return nil, err
	}
	return s.scaleOf(obj), nil
}

// Update implements rest.Updater. It never creates.
func (s *Scale) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	onCreate := func(ctx context.Context, obj runtime.Object) error { return create(ctx, s.scaleOf(obj)) }
	onUpdate := func(ctx context.Context, obj, old runtime.Object) error {
		return update(ctx, s.scaleOf(obj), s.scaleOf(old))
	}
	obj, _, err := s.store.Update(ctx, name, &scaleUpdate{UpdatedObjectInfo: info, scale: s}, onCreate, onUpdate, false, options)
	if err != nil {
		return nil, false, err
	}
	return s.scaleOf(obj), false, nil
}

// ConvertToTable implements rest.TableConvertor.
func (s *Scale) ConvertToTable(ctx context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	return rest.NewDefaultTableConvertor(schema.GroupResource{Group: "autoscaling", Resource: "scales"}).ConvertToTable(ctx, obj, options)
}

func (s *Scale) scaleOf(obj runtime.Object) *autoscalingv1.Scale {
	m, of := accessor(obj), s.descriptor.Scale
	return &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{
			Name: m.GetName(), Namespace: m.GetNamespace(), UID: m.GetUID(),
			ResourceVersion: m.GetResourceVersion(), CreationTimestamp: m.GetCreationTimestamp(),
		},
		Spec:   autoscalingv1.ScaleSpec{Replicas: of.Replicas(obj)},
		Status: autoscalingv1.ScaleStatus{Replicas: of.StatusReplicas(obj), Selector: of.Selector(obj)},
	}
}

// servedVersion is the version that the request came in by.
func (s *Scale) servedVersion(ctx context.Context) schema.GroupVersion {
	if info, ok := request.RequestInfoFrom(ctx); ok {
		for _, gv := range s.descriptor.Served() {
			if gv.Group == info.APIGroup && gv.Version == info.APIVersion {
				return gv
			}
		}
	}
	return s.descriptor.Version
}

// scaleUpdate turns an update of a Scale into one of the object that it scales.
type scaleUpdate struct {
	rest.UpdatedObjectInfo
	scale *Scale
}

// UpdatedObject implements rest.UpdatedObjectInfo.
func (u *scaleUpdate) UpdatedObject(ctx context.Context, old runtime.Object) (runtime.Object, error) {
	obj := old.DeepCopyObject()
	m := accessor(obj)
	fields := managedfields.NewScaleHandler(m.GetManagedFields(), u.scale.servedVersion(ctx), u.scale.paths)
	current := u.scale.scaleOf(obj)
	owners, err := fields.ToSubresource()
	if err != nil {
		return nil, fmt.Errorf("reading field owners of %s: %w", m.GetName(), err)
	}
	current.ManagedFields = owners

	updated, err := u.UpdatedObjectInfo.UpdatedObject(ctx, current)
	if err != nil {
		return nil, err
	}
	if updated == nil {
		return nil, apierrors.NewBadRequest("nil update passed to Scale")
	}
	wanted, ok := updated.(*autoscalingv1.Scale)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("expected input object type to be Scale, but %T", updated))
	}
	if err := u.check(wanted, m); err != nil {
		return nil, err
	}
	u.scale.descriptor.Scale.SetReplicas(obj, wanted.Spec.Replicas)
	m.SetResourceVersion(wanted.ResourceVersion) // the store compares it
	if owners, err = fields.ToParent(wanted.ManagedFields); err != nil {
		return nil, fmt.Errorf("writing field owners of %s: %w", m.GetName(), err)
	}
	m.SetManagedFields(owners)
	return obj, nil
}

func (u *scaleUpdate) check(wanted *autoscalingv1.Scale, m metav1.Object) error {
	errs := validation.ValidateObjectMeta(&wanted.ObjectMeta, true, validation.NameIsDNSSubdomain, field.NewPath("metadata"))
	errs = append(errs, validation.ValidateNonnegativeField(int64(wanted.Spec.Replicas), field.NewPath("spec", "replicas"))...)
	if len(errs) > 0 {
		return apierrors.NewInvalid(schema.GroupKind{Group: "autoscaling", Kind: "Scale"}, wanted.Name, errs)
	}
	if wanted.UID != "" && wanted.UID != m.GetUID() {
		return apierrors.NewConflict(u.scale.descriptor.GroupResource(), m.GetName(),
			fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", wanted.UID, m.GetUID()))
	}
	return nil
}
