package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/nodeagent/internal/access"
)

// Config of the name server of one node. Listen and NodeName are required.
type Config struct {
	// Listen is where pods reach the server: port 53 of the gateway's address.
	Listen netip.AddrPort
	// Health is where /health, /ready and /metrics are answered over HTTP. The
	// default is nowhere.
	Health netip.AddrPort
	// Domain of the cluster. The default is cluster.local.
	Domain string
	// NodeName names the EndpointSlice and owns it.
	NodeName string
	// Upstreams answer what is not of the cluster. Nil means those of ResolvConf;
	// empty means none.
	Upstreams []netip.AddrPort
	// ResolvConf is the host's resolver configuration. The default is
	// /etc/resolv.conf.
	ResolvConf string
}

func (c Config) withDefaults() (Config, error) {
	if !c.Listen.IsValid() || c.NodeName == "" {
		return c, errors.New("dns: Listen and NodeName are required")
	}
	c.Domain = cmp.Or(c.Domain, "cluster.local")
	c.ResolvConf = cmp.Or(c.ResolvConf, "/etc/resolv.conf")
	return c, nil
}

// readyInterval is how often a starting server looks whether its caches are
// filled. There is nothing to wait on.
const readyInterval = 10 * time.Millisecond

// Run answers names until ctx ends. It listens at once; until its caches are
// filled, queries for the cluster's names wait, up to patience.
func Run(ctx context.Context, cfg *rest.Config, c Config) error {
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	cfg = rest.AddUserAgent(rest.CopyConfig(cfg), "coracle-dns")
	cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making the name server's client: %w", err)
	}
	names, err := newClusterNames(ctx, cfg, c.Domain)
	if err != nil {
		return err
	}
	out := newForwarder(c)
	defer out.close()
	names.Next = out
	s, err := listen(ctx, c.Listen, newHandler(names, &out.loops))
	if err != nil {
		return err
	}
	health := listenHealth(ctx, c.Health)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.serve(ctx) })
	g.Go(func() error { return out.follow(ctx) })
	g.Go(func() error { return serveHealth(ctx, health, names.ready) })
	g.Go(func() error {
		if allowed(ctx, client) {
			names.run(ctx)
		}
		return nil
	})
	g.Go(func() error {
		if !names.waitReady(ctx) {
			return nil
		}
		klog.FromContext(ctx).Info("Answering the cluster's names", "address", c.Listen, "domain", c.Domain, "upstreams", out.upstreams())
		return newPublisher(client, c).run(ctx)
	})
	return g.Wait()
}

// allowed waits until the server lets us read.
func allowed(ctx context.Context, client kubernetes.Interface) bool {
	return access.Wait(ctx, func(ctx context.Context) error {
		_, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{Limit: 1})
		return err
	})
}
