package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/util/dryrun"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/apiserver/allocation"
	"coracle.dev/coracle/apiserver/registry"
)

const (
	releaseTimeout = 30 * time.Second
	repairInterval = 3 * time.Minute
)

// Storage is the storage of services, whose writes take addresses and ports, and give them back.
type Storage struct {
	*registry.Storage
	a *Allocator
}

// New makes the storage of services use the allocator.
func New(services *registry.Storage, a *Allocator) *Storage {
	services.BeginCreate = a.beginCreate
	services.BeginUpdate = a.beginUpdate
	services.AfterDelete = func(obj runtime.Object, options *metav1.DeleteOptions) {
		if s, ok := obj.(*corev1.Service); ok && !dryrun.IsDryRun(options.DryRun) {
			a.afterDelete(s)
		}
	}
	return &Storage{Storage: services, a: a}
}

// handKey is that of the hand of an update in its context.
type handKey struct{}

// Update implements rest.Updater. An update is tried again when another was stored meanwhile; what its
// tries took and the service did not come to have is given back when it is over.
func (s *Storage) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, forceCreate bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	h := &hand{a: s.a, owner: allocation.Owner{Namespace: request.NamespaceValue(ctx), Name: name}, dryRun: dryrun.IsDryRun(options.DryRun)}
	obj, created, err := s.Storage.Update(context.WithValue(ctx, handKey{}, h), name, info, create, update, forceCreate, options)
	switch stored, ok := obj.(*corev1.Service); {
	case h.dryRun:
	case err == nil && ok:
		h.took.add(h.old)
		s.a.give(ctx, h.owner, h.took.without(stakeOf(stored)))
	case !uncertain(err):
		s.a.give(ctx, h.owner, h.took.without(h.old))
	}
	return obj, created, err
}

// uncertain reports whether a write may have been stored although it failed: the store gave no verdict.
// Then the repair finds out what it took.
func uncertain(err error) bool {
	var verdict apierrors.APIStatus
	return !errors.As(err, &verdict) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err)
}

func (a *Allocator) beginCreate(ctx context.Context, obj runtime.Object, options *metav1.CreateOptions) (genericregistry.FinishFunc, error) {
	s := obj.(*corev1.Service)
	alignClusterIPs(s, nil)
	if err := a.await(ctx); err != nil {
		return nil, err
	}
	h, byUpdate := ctx.Value(handKey{}).(*hand)
	if !byUpdate {
		h = &hand{a: a, owner: allocation.Owner{Namespace: s.Namespace, Name: s.Name}, dryRun: dryrun.IsDryRun(options.DryRun)}
		if h.owner.Namespace == "" {
			h.owner.Namespace = request.NamespaceValue(ctx)
		}
	}
	revert := func(ctx context.Context) {
		if !byUpdate && !h.dryRun {
			a.give(ctx, h.owner, h.took)
		}
	}
	if err := h.create(ctx, s); err != nil {
		revert(ctx)
		return nil, err
	}
	return func(ctx context.Context, success bool) {
		if !success {
			revert(ctx)
		}
	}, nil
}

// beginUpdate runs before each try to store an update. Storage.Update settles what the tries took.
func (a *Allocator) beginUpdate(ctx context.Context, obj, existing runtime.Object, _ *metav1.UpdateOptions) (genericregistry.FinishFunc, error) {
	s, old := obj.(*corev1.Service), existing.(*corev1.Service)
	h, ok := ctx.Value(handKey{}).(*hand)
	if !ok {
		return nil, apierrors.NewInternalError(errors.New("updating a service past its storage"))
	}
	carryOver(s, old)
	alignClusterIPs(s, old)
	dropForeign(s, old)
	if err := a.await(ctx); err != nil {
		return nil, err
	}
	h.old = stakeOf(old)
	return func(context.Context, bool) {}, h.update(ctx, s, old)
}

func (a *Allocator) afterDelete(s *corev1.Service) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if a.await(ctx) != nil {
		return // what is known at the start does not hold the service any more
	}
	a.give(ctx, allocation.Owner{Namespace: s.Namespace, Name: s.Name}, stakeOf(s))
}

// await waits until it is known what is taken.
func (a *Allocator) await(ctx context.Context) error {
	select {
	case <-a.ready:
		return nil
	case <-ctx.Done():
		return apierrors.NewServiceUnavailable("addresses and ports of services are not known yet")
	}
}

// Lister lists all services.
type Lister func(context.Context) ([]corev1.Service, error)

// Start learns what services have. Until it is called, writes of services wait. It is called once.
func (a *Allocator) Start(ctx context.Context, list Lister) error {
	services, err := list(ctx)
	if err != nil {
		return fmt.Errorf("listing services: %w", err)
	}
	if err := a.ports.Repair(ctx, services); err != nil {
		return err
	}
	for _, r := range a.ranges {
		if err := r.Refresh(ctx); err != nil {
			return err
		}
	}
	close(a.ready)
	return nil
}

// RunRepair repairs addresses now and then, until ctx ends.
func (a *Allocator) RunRepair(ctx context.Context, list Lister) {
	wait.JitterUntilWithContext(ctx, func(ctx context.Context) {
		if err := a.repair(ctx, list); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Repairing service addresses")
		}
	}, repairInterval, 0.1, true)
}

func (a *Allocator) repair(ctx context.Context, list Lister) error {
	services, err := list(ctx)
	if err != nil {
		return fmt.Errorf("listing services: %w", err)
	}
	errs := []error{a.ports.Repair(ctx, services)}
	for _, r := range a.all() {
		errs = append(errs, r.Repair(ctx, services, time.Now()))
	}
	return errors.Join(errs...)
}

// List lists the services of a store, with the newest data.
func List(services *registry.Storage) Lister {
	return func(ctx context.Context) ([]corev1.Service, error) {
		obj, err := services.List(as(ctx, "", "services"), nil)
		if err != nil {
			return nil, err
		}
		return obj.(*corev1.ServiceList).Items, nil
	}
}

// as is a context for calls to the store of another resource than the request's.
func as(ctx context.Context, group, resource string) context.Context {
	ctx = request.WithNamespace(ctx, "")
	return request.WithRequestInfo(ctx, &request.RequestInfo{IsResourceRequest: true, APIGroup: group, APIVersion: "v1", Resource: resource})
}

// addressStore keeps IPAddress objects in the store of their resource.
type addressStore struct{ store *registry.Storage }

// NewAddressStore returns an allocation.Store over the store of ipaddresses.
func NewAddressStore(s *registry.Storage) allocation.Store { return addressStore{store: s} }

func (s addressStore) context(ctx context.Context) context.Context {
	return as(ctx, networkingv1.GroupName, "ipaddresses")
}

func (s addressStore) Create(ctx context.Context, ip *networkingv1.IPAddress) error {
	_, err := s.store.Create(s.context(ctx), ip, rest.ValidateAllObjectFunc, &metav1.CreateOptions{})
	return err
}

func (s addressStore) Get(ctx context.Context, name string) (*networkingv1.IPAddress, error) {
	obj, err := s.store.Get(s.context(ctx), name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return obj.(*networkingv1.IPAddress), nil
}

func (s addressStore) List(ctx context.Context) ([]networkingv1.IPAddress, error) {
	obj, err := s.store.List(s.context(ctx), nil)
	if err != nil {
		return nil, err
	}
	return obj.(*networkingv1.IPAddressList).Items, nil
}

func (s addressStore) Delete(ctx context.Context, name string, read *networkingv1.IPAddress) error {
	_, _, err := s.store.Delete(s.context(ctx), name, rest.ValidateAllObjectFunc,
		&metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &read.UID}})
	return err
}
