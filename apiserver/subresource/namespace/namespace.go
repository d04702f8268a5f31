// Package namespace is what the API server does with namespaces beyond storing them.
//
// A namespace is deleted in two steps. The first deletion marks it Terminating, from when nothing can be
// created in it; the namespace controller empties it and takes its finalizer off through /finalize; when
// no finalizer is left, the object goes. The deletion of many namespaces at once is not served.
package namespace

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storeerr "k8s.io/apiserver/pkg/storage/errors"
	"k8s.io/apiserver/pkg/util/dryrun"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"coracle.dev/coracle/apiserver/registry"
)

var resource = corev1.Resource("namespaces")

// storeVerbs are the verbs of a store that namespaces serve as they are: all but the two deletions.
type storeVerbs interface {
	rest.Getter
	rest.Lister
	rest.CreaterUpdater
	rest.Watcher
	rest.Scoper
	rest.SingularNameProvider
	rest.ShortNamesProvider
	rest.CategoriesProvider
	rest.ResetFieldsStrategy
	StorageVersion() runtime.GroupVersioner
}

// Namespaces serves namespaces.
type Namespaces struct {
	storeVerbs
	store *genericregistry.Store
}

var (
	_ rest.GracefulDeleter        = &Namespaces{}
	_ rest.StorageVersionProvider = &Namespaces{}
)

// New makes the storage of namespaces over s, whose store it changes.
func New(s *registry.Storage) *Namespaces {
	// For each way of updating: a namespace that is emptied has no other finalizers to hold it.
	s.ShouldDeleteDuringUpdate, s.Status.Store.ShouldDeleteDuringUpdate = finalized, finalized
	return &Namespaces{storeVerbs: s, store: s.Store}
}

func finalized(ctx context.Context, key string, obj, existing runtime.Object) bool {
	return len(obj.(*corev1.Namespace).Spec.Finalizers) == 0 && genericregistry.ShouldDeleteDuringUpdate(ctx, key, obj, existing)
}

// Delete implements rest.GracefulDeleter.
func (n *Namespaces) Delete(ctx context.Context, name string, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	obj, err := n.store.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, false, err
	}
	ns := obj.(*corev1.Namespace)
	if options == nil {
		options = metav1.NewDeleteOptions(0)
	}
	if err := pin(options, ns); err != nil {
		return nil, false, err
	}
	if ns.DeletionTimestamp.IsZero() {
		out, err := n.terminate(ctx, ns, validate, options)
		return out, false, err
	}
	if len(ns.Spec.Finalizers) != 0 {
		return ns, false, nil
	}
	return n.store.Delete(ctx, name, validate, options)
}

// pin makes the deletion mean the namespace that was looked at, and no later one of its name.
func pin(options *metav1.DeleteOptions, ns *corev1.Namespace) error {
	if options.Preconditions == nil {
		options.Preconditions = &metav1.Preconditions{}
	}
	p := options.Preconditions
	if p.UID == nil {
		p.UID = &ns.UID
	} else if *p.UID != ns.UID {
		return apierrors.NewConflict(resource, ns.Name, fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", *p.UID, ns.UID)) //nolint:staticcheck // the API's wording
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != ns.ResourceVersion {
		return apierrors.NewConflict(resource, ns.Name, fmt.Errorf("Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", *p.ResourceVersion, ns.ResourceVersion)) //nolint:staticcheck // the API's wording
	}
	return nil
}

// terminate marks the namespace as being deleted.
func (n *Namespaces) terminate(ctx context.Context, ns *corev1.Namespace, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, error) {
	key, err := n.store.KeyFunc(ctx, ns.Name)
	if err != nil {
		return nil, err
	}
	preconditions := &storage.Preconditions{UID: options.Preconditions.UID, ResourceVersion: options.Preconditions.ResourceVersion}
	out := &corev1.Namespace{}
	err = n.store.Storage.GuaranteedUpdate(ctx, key, out, false, preconditions, storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
		existing := obj.(*corev1.Namespace)
		if err := validate(ctx, existing); err != nil {
			return nil, err
		}
		markTerminating(existing, options, metav1.Now())
		return existing, nil
	}), dryrun.IsDryRun(options.DryRun), nil)
	if err != nil {
		err = storeerr.InterpretGetError(err, resource, ns.Name)
		return nil, storeerr.InterpretUpdateError(err, resource, ns.Name)
	}
	return out, nil
}

func markTerminating(ns *corev1.Namespace, options *metav1.DeleteOptions, now metav1.Time) {
	if ns.DeletionTimestamp.IsZero() {
		ns.DeletionTimestamp = &now
	}
	ns.Status.Phase = corev1.NamespaceTerminating
	orphan := options.OrphanDependents != nil && *options.OrphanDependents //nolint:staticcheck // still part of the API
	if p := options.PropagationPolicy; p != nil {
		orphan = *p == metav1.DeletePropagationOrphan
	}
	var finalizers []string
	for _, f := range ns.Finalizers {
		if f != metav1.FinalizerOrphanDependents {
			finalizers = append(finalizers, f)
		}
	}
	if orphan {
		finalizers = append(finalizers, metav1.FinalizerOrphanDependents)
	}
	ns.Finalizers = finalizers
}

// New implements rest.Storage.
func (n *Namespaces) New() runtime.Object { return n.store.New() }

// Destroy implements rest.Storage.
func (n *Namespaces) Destroy() { n.store.Destroy() }

// Finalize serves namespaces/finalize, through which spec.finalizers can be written, and nothing else.
type Finalize struct{ store *genericregistry.Store }

var _ rest.Updater = &Finalize{}

// NewFinalize makes the storage of namespaces/finalize.
func NewFinalize(s *registry.Storage) *Finalize {
	store := *s.Store
	strategy := finalizeStrategy{s.UpdateStrategy}
	store.UpdateStrategy, store.ResetFieldsStrategy = strategy, strategy
	return &Finalize{store: &store}
}

// New implements rest.Storage.
func (f *Finalize) New() runtime.Object { return f.store.New() }

// Destroy implements rest.Storage.
func (f *Finalize) Destroy() {}

// Update implements rest.Updater. It never creates.
func (f *Finalize) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return f.store.Update(ctx, name, info, create, update, false, options)
}

type finalizeStrategy struct{ rest.RESTUpdateStrategy }

// GetResetFields implements rest.ResetFieldsStrategy.
func (finalizeStrategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return map[fieldpath.APIVersion]*fieldpath.Set{"v1": fieldpath.NewSet(fieldpath.MakePathOrDie("status"))}
}

// PrepareForUpdate implements rest.RESTUpdateStrategy.
func (finalizeStrategy) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	obj.(*corev1.Namespace).Status = old.(*corev1.Namespace).Status
}

// ValidateUpdate implements rest.RESTUpdateStrategy.
func (finalizeStrategy) ValidateUpdate(_ context.Context, obj, _ runtime.Object) field.ErrorList {
	var errs field.ErrorList
	for i, f := range obj.(*corev1.Namespace).Spec.Finalizers {
		path := field.NewPath("spec", "finalizers").Index(i)
		for _, msg := range validation.IsQualifiedName(string(f)) {
			errs = append(errs, field.Invalid(path, string(f), msg))
		}
	}
	return errs
}

// WarningsOnUpdate implements rest.RESTUpdateStrategy.
func (finalizeStrategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}
