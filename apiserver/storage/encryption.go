package storage

import (
	"context"
	"fmt"

	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig/controller"
	"k8s.io/apiserver/pkg/storage/value"
)

// EncryptionOptions say what is encrypted at rest. Without ConfigFile, nothing is.
//
// The first provider that the file names for a resource writes; all of them read. What was written with
// another provider or key than the first counts as out of date, so that any update of the object, even
// one that changes nothing, writes it anew.
type EncryptionOptions struct {
	// ConfigFile is an EncryptionConfiguration. With Reload it is read again when it changes.
	ConfigFile string
	Reload     bool
	// ServerID tells this server from others in metrics and to key management services.
	ServerID string
}

// encryption is an open configuration. Its transformers talk to key management services until closed.
type encryption struct {
	transformers value.ResourceTransformers
	checks       []healthz.HealthChecker
	reload       func(context.Context)
	close        context.CancelFunc
}

func openEncryption(ctx context.Context, o EncryptionOptions) (*encryption, error) {
	// Requests in flight need the keys until the storage is closed, which is after ctx has ended.
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if o.ConfigFile == "" {
		return &encryption{close: cancel}, nil
	}
	first, closeFirst := context.WithCancel(lasting) // a new configuration closes the one before
	c, err := encryptionconfig.LoadEncryptionConfig(first, o.ConfigFile, o.Reload, o.ServerID)
	if err != nil {
		closeFirst()
		cancel()
		return nil, fmt.Errorf("reading --encryption-provider-config: %w", err)
	}
	e := &encryption{transformers: encryptionconfig.StaticTransformers(c.Transformers), checks: c.HealthChecks, close: func() { closeFirst(); cancel() }}
	if !o.Reload {
		return e, nil
	}
	dynamic := encryptionconfig.NewDynamicTransformers(c.Transformers, c.HealthChecks[0], closeFirst, c.KMSCloseGracePeriod)
	e.transformers, e.checks = dynamic, []healthz.HealthChecker{dynamic}
	e.reload = controller.NewDynamicEncryptionConfiguration("encryption-provider-config-automatic-reload-controller",
		o.ConfigFile, dynamic, c.EncryptionFileContentHash, o.ServerID).Run
	return e, nil
}

// EncryptionChecks say whether the key management services can be used.
func (b *Backend) EncryptionChecks() []healthz.HealthChecker { return b.encryption.checks }

// ReloadEncryption follows changes of the encryption configuration until ctx ends, if it is to be read
// again at all.
func (b *Backend) ReloadEncryption(ctx context.Context) {
	if b.encryption.reload != nil {
		b.encryption.reload(ctx)
	}
}
