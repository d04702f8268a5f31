package dns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coredns/caddy"
	k8s "github.com/coredns/coredns/plugin/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// stanza configures the kubernetes plugin; its options have no other form.
const stanza = `kubernetes %s in-addr.arpa ip6.arpa {
	pods insecure
	fallthrough in-addr.arpa ip6.arpa
	ttl 30
}`

// clusterNames is the plugin that knows the names of Services and pods.
type clusterNames struct{ *k8s.Kubernetes }

// newClusterNames makes the plugin, with the client that cfg describes.
func newClusterNames(ctx context.Context, cfg *rest.Config, domain string) (clusterNames, error) {
	c := caddy.NewTestController("dns", fmt.Sprintf(stanza, domain))
	c.Next()
	plugin, err := k8s.ParseStanza(c)
	if err != nil {
		return clusterNames{}, fmt.Errorf("configuring the names of domain %s: %w", domain, err)
	}
	plugin.ClientConfig = clientConfig{cfg}
	if _, _, err := plugin.InitKubeCache(ctx); err != nil {
		return clusterNames{}, fmt.Errorf("preparing the cache of names: %w", err)
	}
	return clusterNames{plugin}, nil
}

// run fills the caches and keeps them until ctx ends.
func (n clusterNames) run(ctx context.Context) error {
	context.AfterFunc(ctx, func() {
		// The one error there is says that it was stopped before.
		_ = n.APIConn.Stop()
	})
	n.APIConn.Run()
	return nil
}

// waitReady returns true once the caches are filled, false when ctx ends first.
func (n clusterNames) waitReady(ctx context.Context) bool {
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for !n.APIConn.HasSynced() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// clientConfig gives the plugin a rest.Config where it would look for a
// kubeconfig.
type clientConfig struct{ cfg *rest.Config }

var _ clientcmd.ClientConfig = clientConfig{}

func (c clientConfig) ClientConfig() (*rest.Config, error)  { return rest.CopyConfig(c.cfg), nil }
func (c clientConfig) Namespace() (string, bool, error)     { return "", false, nil }
func (c clientConfig) ConfigAccess() clientcmd.ConfigAccess { return nil }
func (c clientConfig) RawConfig() (clientcmdapi.Config, error) {
	return clientcmdapi.Config{}, errors.New("there is no kubeconfig")
}
