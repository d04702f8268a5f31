// Package storage keeps the objects of the API server in etcd: in a server embedded in this process
// by default, or in an external cluster.
//
// It owns the data directory, the etcd server and its client, compaction, and the RESTOptionsGetter
// by which each resource gets its backend: protobuf in etcd behind a watch cache. Keys are those of
// Kubernetes, so that either can take over the other's etcd.
//
// Invariants: a write that was acknowledged is on disk, save with UnsafeNoFsync. The embedded server
// has no sockets. Close is called after everything that was given a getter has ended.
package storage

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3/metrics"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
)

// Options say where the data is.
type Options struct {
	// DataDir is the directory of the embedded server. It is made if it is missing.
	DataDir string
	// UnsafeNoFsync gives up durability for speed. For tests.
	UnsafeNoFsync bool
	// QuotaBytes limits the size of the embedded database; 0 means DefaultQuotaBytes.
	QuotaBytes int64

	// Servers are the endpoints of an external cluster. If there are none, a server is embedded.
	Servers                   []string
	CAFile, CertFile, KeyFile string

	// Prefix is put before all keys; empty means DefaultPrefix.
	Prefix string
	// CompactionInterval is how long old revisions are kept, once to twice; 0 means the default of
	// Kubernetes, 5 minutes.
	CompactionInterval time.Duration
	// NoWatchCache serves every read from etcd.
	NoWatchCache bool
	Encryption   EncryptionOptions
}

// DefaultPrefix and DefaultQuotaBytes are the values of zero options.
const (
	DefaultPrefix     = "/registry"
	DefaultQuotaBytes = 4 << 30
)

// source is an etcd that storage can be made on.
type source interface {
	// raw makes uncached storage for one resource.
	raw(c *storagebackend.ConfigForResource, newFunc, newList func() runtime.Object, prefix string) (storage.Interface, factory.DestroyFunc, error)
	// check says whether etcd answers.
	check(ctx context.Context) error
	monitor() (metrics.Monitor, error)
	close()
}

// Backend is an open etcd.
type Backend struct {
	source     source
	config     storagebackend.Config
	encryption *encryption
	cached     bool
	// raws end the storages that Raw made. It is called before the server runs, by one goroutine.
	raws []func()
}

// Open starts the embedded server, or prepares to reach the external one. It returns when the data
// can be read and written.
func Open(ctx context.Context, o Options) (*Backend, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	config := storagebackend.NewDefaultConfig(o.Prefix, nil)
	if o.CompactionInterval != 0 {
		config.CompactionInterval = o.CompactionInterval
	}
	config.CountMetricPollPeriod = time.Minute
	encryption, err := openEncryption(ctx, o.Encryption)
	if err != nil {
		return nil, err
	}
	var s source
	if len(o.Servers) > 0 {
		config.Transport.ServerList = o.Servers
		config.Transport.TrustedCAFile, config.Transport.CertFile, config.Transport.KeyFile = o.CAFile, o.CertFile, o.KeyFile
		s, err = newExternal(*config)
	} else {
		s, err = startEmbedded(ctx, o, config.CompactionInterval)
	}
	if err != nil {
		encryption.close()
		return nil, err
	}
	metrics.SetStorageMonitorGetter(func() ([]metrics.Monitor, error) {
		m, err := s.monitor()
		if err != nil {
			return nil, err
		}
		return []metrics.Monitor{m}, nil
	})
	return &Backend{source: s, config: *config, encryption: encryption, cached: !o.NoWatchCache}, nil
}

// Check says whether etcd answers.
func (b *Backend) Check(ctx context.Context) error {
	if err := b.source.check(ctx); err != nil {
		return fmt.Errorf("checking etcd: %w", err)
	}
	return nil
}

// Embedded says whether this process is the only one that uses the data.
func (b *Backend) Embedded() bool {
	_, ok := b.source.(*embedded)
	return ok
}

// Close ends the embedded server after its last write is on disk.
func (b *Backend) Close() {
	for _, end := range b.raws {
		end()
	}
	b.source.close()
	b.encryption.close()
}
