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

// Allocate makes the store of services take addresses and ports of a, and give them back.
func Allocate(services *registry.Storage, a *Allocator) {
	services.BeginCreate = a.beginCreate
	services.BeginUpdate = a.beginUpdate
	services.AfterUpdate = func(obj runtime.Object, options *metav1.UpdateOptions) {
		if s, ok := obj.(*corev1.Service); ok && !dryrun.IsDryRun(options.DryRun) {
			ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
			defer cancel()
			a.settle(ctx, s)
		}
	}
	services.AfterDelete = func(obj runtime.Object, options *metav1.DeleteOptions) {
		if s, ok := obj.(*corev1.Service); ok && !dryrun.IsDryRun(options.DryRun) {
			a.afterDelete(s)
		}
	}
}

func (a *Allocator) beginCreate(ctx context.Context, obj runtime.Object, options *metav1.CreateOptions) (genericregistry.FinishFunc, error) {
	s := obj.(*corev1.Service)
	alignClusterIPs(s, nil)
	h, err := a.hand(ctx, s, options.DryRun)
	if err != nil {
		return nil, err
	}
	if err := h.create(ctx, s); err != nil {
		h.revert(ctx)
		return nil, err
	}
	return func(ctx context.Context, success bool) {
		if !success {
			h.revert(ctx)
		}
	}, nil
}

// beginUpdate runs before the update is stored, and again if another was stored meanwhile. What it takes
// and makes superfluous is settled after.
func (a *Allocator) beginUpdate(ctx context.Context, obj, existing runtime.Object, options *metav1.UpdateOptions) (genericregistry.FinishFunc, error) {
	s, old := obj.(*corev1.Service), existing.(*corev1.Service)
	carryOver(s, old)
	alignClusterIPs(s, old)
	dropForeign(s, old)
	h, err := a.hand(ctx, old, options.DryRun)
	if err != nil {
		return nil, err
	}
	h.again = true
	if err := h.update(ctx, s, old); err != nil {
		h.revert(ctx)
		return nil, err
	}
	return func(ctx context.Context, success bool) {
		switch {
		case !success:
			h.revert(ctx)
		case !h.dryRun:
			a.expect(h.owner, h.took, old)
		}
	}, nil
}

func (a *Allocator) afterDelete(s *corev1.Service) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if a.await(ctx) != nil {
		return // what is known at the start does not hold the service any more
	}
	owner := allocation.Owner{Namespace: s.Namespace, Name: s.Name}
	a.mu.Lock()
	delete(a.pending, owner)
	a.mu.Unlock()
	a.give(ctx, owner, stake{ips: allocation.AddressesOf(s), ports: allocation.PortsOf(s)})
}

func (a *Allocator) hand(ctx context.Context, s *corev1.Service, dryRun []string) (*hand, error) {
	owner := allocation.Owner{Namespace: s.Namespace, Name: s.Name}
	if owner.Namespace == "" {
		owner.Namespace = request.NamespaceValue(ctx)
	}
	return &hand{a: a, owner: owner, dryRun: dryrun.IsDryRun(dryRun)}, a.await(ctx)
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
	a.ports.Repair(services)
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
	a.ports.Repair(services)
	var errs []error
	for _, r := range a.ranges {
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
