package storage

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3/metrics"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
)

// external is an etcd cluster that is reached over the network.
type external struct {
	config storagebackend.Config
	health metrics.Monitor
	prober factory.Prober
}

func newExternal(c storagebackend.Config) (source, error) {
	prober, err := factory.CreateProber(c)
	if err != nil {
		return nil, fmt.Errorf("connecting to etcd at %v: %w", c.Transport.ServerList, err)
	}
	monitor, err := factory.CreateMonitor(c)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to etcd at %v: %w", c.Transport.ServerList, err), prober.Close())
	}
	return &external{config: c, prober: prober, health: monitor}, nil
}

func (e *external) raw(c *storagebackend.ConfigForResource, newFunc, newList func() runtime.Object, prefix string) (storage.Interface, factory.DestroyFunc, error) {
	return generic.NewRawStorage(c, newFunc, newList, prefix)
}

func (e *external) check(ctx context.Context) error { return e.prober.Probe(ctx) }

func (e *external) monitor() (metrics.Monitor, error) { return e.health, nil }

func (e *external) close() {
	_ = errors.Join(e.prober.Close(), e.health.Close()) // only connections
}
