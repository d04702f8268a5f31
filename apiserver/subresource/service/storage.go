package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
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
	services.BeginCreate = func(ctx context.Context, obj runtime.Object, options *metav1.CreateOptions) (genericregistry.FinishFunc, error) {
		s := obj.(*corev1.Service)
		alignClusterIPs(s, nil)
		h := a.hand(ctx, s, options.DryRun)
		if err := h.create(ctx, s); err != nil {
			h.finish(ctx, false)
			return nil, err
		}
		return h.finish, nil
	}
	services.BeginUpdate = func(ctx context.Context, obj, existing runtime.Object, options *metav1.UpdateOptions) (genericregistry.FinishFunc, error) {
		s, old := obj.(*corev1.Service), existing.(*corev1.Service)
		carryOver(s, old)
		alignClusterIPs(s, old)
		dropForeign(s, old)
		h := a.hand(ctx, s, options.DryRun)
		if err := h.update(ctx, s, old); err != nil {
			h.finish(ctx, false)
			return nil, err
		}
		return h.finish, nil
	}
	services.AfterDelete = func(obj runtime.Object, options *metav1.DeleteOptions) {
		s, ok := obj.(*corev1.Service)
		if !ok || dryrun.IsDryRun(options.DryRun) {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
		defer cancel()
		h := &hand{a: a, owner: allocation.Owner{Namespace: s.Namespace, Name: s.Name}}
		h.giveBack(&corev1.Service{}, s)
		h.finish(ctx, true)
	}
}

func (a *Allocator) hand(ctx context.Context, s *corev1.Service, dryRun []string) *hand {
	owner := allocation.Owner{Namespace: s.Namespace, Name: s.Name}
	if owner.Namespace == "" {
		owner.Namespace = request.NamespaceValue(ctx)
	}
	return &hand{a: a, owner: owner, dryRun: dryrun.IsDryRun(dryRun)}
}

// Lister lists all services.
type Lister func(context.Context) ([]corev1.Service, error)

// Start notes what services have, before anything is handed out.
func (a *Allocator) Start(ctx context.Context, list Lister) error {
	services, err := list(ctx)
	if err != nil {
		return fmt.Errorf("listing services: %w", err)
	}
	for i := range services {
		a.ports.Hold(&services[i])
	}
	var errs []error
	for _, r := range a.ranges {
		errs = append(errs, r.Refresh(ctx))
	}
	return errors.Join(errs...)
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
