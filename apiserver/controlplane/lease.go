package controlplane

import (
	"context"
	"path"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
)

// LeaseTime is how long a server counts as alive after it last renewed its lease.
const LeaseTime = 15 * time.Second

// Leases tell which API servers of the cluster are alive.
type Leases interface {
	Renew(ctx context.Context, address string) error
	Remove(ctx context.Context, address string) error
	Alive(ctx context.Context) ([]string, error)
}

// LeasePrefix is the directory of the leases in the storage. It is Kubernetes', so that servers of
// both kinds know of one another.
const LeasePrefix = "/masterleases"

// StoredLeases keeps the leases as Endpoints objects that expire.
type StoredLeases struct {
	Storage storage.Interface
}

var _ Leases = &StoredLeases{}

// Renew implements Leases.
func (l *StoredLeases) Renew(ctx context.Context, address string) error {
	ttl := uint64(LeaseTime.Seconds())
	renew := func(obj runtime.Object, _ storage.ResponseMeta) (runtime.Object, *uint64, error) {
		e := obj.(*corev1.Endpoints)
		e.Subsets = []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: address}}}}
		e.Generation++ // else nothing changes, and the lease is not extended
		return e, &ttl, nil
	}
	return l.Storage.GuaranteedUpdate(ctx, path.Join(LeasePrefix, address), &corev1.Endpoints{}, true, nil, renew, nil)
}

// Remove implements Leases.
func (l *StoredLeases) Remove(ctx context.Context, address string) error {
	key := path.Join(LeasePrefix, address)
	err := l.Storage.Delete(ctx, key, &corev1.Endpoints{}, nil, rest.ValidateAllObjectFunc, nil, storage.DeleteOptions{})
	if storage.IsNotFound(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// Alive implements Leases.
func (l *StoredLeases) Alive(ctx context.Context) ([]string, error) {
	list := &corev1.EndpointsList{}
	options := storage.ListOptions{
		ResourceVersion: "", ResourceVersionMatch: metav1.ResourceVersionMatch(""),
		Predicate: storage.Everything, Recursive: true,
	}
	if err := l.Storage.GetList(ctx, LeasePrefix+"/", options, list); err != nil {
		return nil, err
	}
	var out []string
	for _, e := range list.Items {
		if len(e.Subsets) > 0 && len(e.Subsets[0].Addresses) > 0 {
			out = append(out, e.Subsets[0].Addresses[0].IP)
		}
	}
	return out, nil
}
