// Package controlplane keeps in the cluster what the API server itself needs there: the system
// namespaces, the service default/kubernetes with the addresses of all API servers behind it, the
// ServiceCIDR that tells of the range of service addresses, the lease that names this server, and the
// config map by which extension API servers learn whom to trust.
//
// It owns those objects, in this process and in others: several servers agree through leases in the
// storage, so that the address of one that ended without notice is removed within LeaseTime.
//
// Differences from Kubernetes: a server whose etcd is embedded is the only one, and writes no leases to
// the storage; the lease that names a server is renewed every ten minutes.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"
)

// Names of the service that stands for the API servers.
const (
	ServiceName = "kubernetes"
	ServicePort = 443
	portName    = "https"
)

// interval is how often everything is looked at, and leases are renewed.
const interval = 10 * time.Second

var systemNamespaces = []string{
	metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease,
}

// Keeper keeps the objects.
type Keeper struct {
	// Client is in-process.
	Client kubernetes.Interface
	// Address and Port are those of this server; ServiceIP is the service's.
	Address, ServiceIP net.IP
	Port               int
	// ServiceRange is where services get their addresses from.
	ServiceRange net.IPNet
	// Leases tell of the other servers; nil means that there are none.
	Leases Leases
	// Identity names this server; one without ID is not shown.
	Identity Identity
	// Trust is the content of the config map extension-apiserver-authentication.
	Trust map[string]string
}

// Start makes everything for the first time; it tries until it succeeds or ctx ends. What cannot be
// made because of the settings, such as endpoints on loopback, is logged and left out.
func (k *Keeper) Start(ctx context.Context) error {
	err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		err := k.keep(ctx)
		if err != nil && !retriable(err) {
			klog.FromContext(ctx).Error(err, "Keeping the control plane's objects")
			return true, nil
		}
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("making the control plane's objects: %w", err)
	}
	return nil
}

func retriable(err error) bool {
	return !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err)
}

// Run keeps everything, once it was made, as it should be until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	_ = wait.PollUntilContextCancel(ctx, interval, false, func(ctx context.Context) (bool, error) {
		// What another server has just changed is looked at again soon.
		if err := k.keep(ctx); err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) {
			klog.FromContext(ctx).Error(err, "Keeping the control plane's objects")
		}
		return false, nil
	}) // ends with ctx alone
}

// Leave takes this server out of the service, if others remain to serve it.
func (k *Keeper) Leave(ctx context.Context) error {
	if k.Leases == nil {
		return nil
	}
	if err := k.Leases.Remove(ctx, k.Address.String()); err != nil {
		return fmt.Errorf("giving up this server's lease: %w", err)
	}
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error { // other servers write the same objects
		return k.keepEndpoints(ctx, false, metav1.GetOptions{})
	})
}

func (k *Keeper) keep(ctx context.Context) error {
	var errs []error
	for _, ns := range systemNamespaces {
		errs = append(errs, k.keepNamespace(ctx, ns))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return errors.Join(k.keepTrust(ctx), k.keepIdentity(ctx, time.Now()), k.keepRange(ctx), k.keepService(ctx), k.keepEndpoints(ctx, true, cached))
}

// cached lets reads be answered from memory: what is kept here is read far more often than changed.
var cached = metav1.GetOptions{ResourceVersion: "0"}

// unlessExists passes over objects that another server made first, or that memory does not show yet.
func unlessExists(err error) error {
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (k *Keeper) keepNamespace(ctx context.Context, name string) error {
	namespaces := k.Client.CoreV1().Namespaces()
	_, err := namespaces.Get(ctx, name, cached)
	if !apierrors.IsNotFound(err) {
		return err
	}
	_, err = namespaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err = unlessExists(err); err != nil {
		return fmt.Errorf("creating namespace %s: %w", name, err)
	}
	return nil
}

// trustName is known to extension API servers.
const trustName = "extension-apiserver-authentication"

func (k *Keeper) keepTrust(ctx context.Context) error {
	maps := k.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	current, err := maps.Get(ctx, trustName, cached)
	switch {
	case apierrors.IsNotFound(err):
		_, err = maps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: trustName, Namespace: metav1.NamespaceSystem}, Data: k.Trust,
		}, metav1.CreateOptions{})
		err = unlessExists(err)
	case err == nil && differs(current.Data, k.Trust):
		current = current.DeepCopy()
		if current.Data == nil {
			current.Data = map[string]string{}
		}
		for key, value := range k.Trust {
			current.Data[key] = value
		}
		_, err = maps.Update(ctx, current, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("writing config map %s: %w", trustName, err)
	}
	return nil
}

func differs(current, wanted map[string]string) bool {
	for k, v := range wanted {
		if current[k] != v {
			return true
		}
	}
	return false
}
