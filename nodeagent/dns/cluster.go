package dns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	k8s "github.com/coredns/coredns/plugin/kubernetes"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
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

// patience is how long a query waits for a server that starts. Resolvers wait
// for five seconds; an answer that the server cannot tell ends their search at
// once.
const patience = 3 * time.Second

// clusterNames is the plugin that knows the names of Services and pods.
type clusterNames struct {
	*k8s.Kubernetes
	// ready is closed once the caches are filled.
	ready chan struct{}
}

// ServeDNS answers one query, if it is for the cluster when the caches are filled.
func (n clusterNames) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	select {
	case <-n.ready:
	default:
		state := request.Request{W: w, Req: r}
		if plugin.Zones(n.Zones).Matches(state.Name()) != "" {
			n.wait(ctx)
		}
	}
	return n.Kubernetes.ServeDNS(ctx, w, r)
}

func (n clusterNames) wait(ctx context.Context) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-n.ready:
	case <-ctx.Done():
	case <-timer.C:
	}
}

// newClusterNames makes the plugin, with the client that cfg describes.
func newClusterNames(ctx context.Context, cfg *rest.Config, domain string) (clusterNames, error) {
	c := caddy.NewTestController("dns", fmt.Sprintf(stanza, domain))
	c.Next()
	names, err := k8s.ParseStanza(c)
	if err != nil {
		return clusterNames{}, fmt.Errorf("configuring the names of domain %s: %w", domain, err)
	}
	names.ClientConfig = clientConfig{cfg}
	if _, _, err := names.InitKubeCache(ctx); err != nil {
		return clusterNames{}, fmt.Errorf("preparing the cache of names: %w", err)
	}
	return clusterNames{names, make(chan struct{})}, nil
}

// run fills the caches and keeps them until ctx ends.
func (n clusterNames) run(ctx context.Context) {
	context.AfterFunc(ctx, func() {
		// The one error there is says that it was stopped before.
		_ = n.APIConn.Stop()
	})
	n.APIConn.Run()
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
	close(n.ready)
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
