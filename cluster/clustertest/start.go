package clustertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
	"coracle.dev/coracle/controllers"
	"coracle.dev/coracle/controllers/localpath"
	"coracle.dev/coracle/nodeagent/simulate"
	"coracle.dev/coracle/scheduler"
)

// patience is how long a start may take on a machine that has much else to do.
const patience = 2 * time.Minute

// Cluster is a cluster that runs until its test ends.
type Cluster struct {
	// Config is for clients that may do everything. They call the API server within the process: no
	// certificates, no limit to their rate, and no exec, attach or port-forward.
	Config *rest.Config

	t      testing.TB
	server *apiserver.Server
	hooks  *envtest.WebhookInstallOptions
	// started ends when the cluster is usable, or with the error of a part that failed before.
	started context.Context
	failed  context.CancelCauseFunc
}

// Start runs a cluster until the test ends and returns a configuration for clients that may do everything.
func Start(t testing.TB, opts ...Option) *rest.Config {
	t.Helper()
	return New(t, opts...).Config
}

// New is Start, and returns the cluster with more ways to use it.
func New(t testing.TB, opts ...Option) *Cluster {
	t.Helper()
	o := newOptions(opts)
	var err error
	if o.authority, err = simulate.NewAuthority(); err != nil {
		t.Fatal(err)
	}
	o.kubelet = kubelet(t, o.authority)
	cfg, server := apiservertest.Start(t, append([]func(*apiserver.Options){o.complete}, o.server...)...)
	c := &Cluster{Config: plain(cfg), t: t, server: server}
	starting, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.started, c.failed = context.WithCancelCause(starting)
	defer c.failed(nil)
	if !o.noControl {
		if o.controllers.RootCA == nil {
			o.controllers.RootCA = c.server.ServingCertificate()
		}
		c.run("controllers", func(ctx context.Context) error {
			return controllers.Run(ctx, c.as("system:kube-controller-manager"), o.controllers)
		})
	}
	if o.scheduler != nil {
		c.run("scheduler", func(ctx context.Context) error {
			return scheduler.Run(ctx, c.as("system:kube-scheduler"), *o.scheduler)
		})
	}
	if len(o.pools) > 0 {
		ready := make(chan struct{})
		c.run("simulated nodes", func(ctx context.Context) error {
			return simulate.Run(ctx, c.as("system:simulator", user.SystemPrivilegedGroup),
				simulate.Options{Pools: o.pools, Authority: o.authority, Clock: o.clock, OnReady: func() { close(ready) }})
		})
		select {
		case <-ready:
		case <-c.started.Done():
			t.Fatalf("registering the simulated nodes: %v", context.Cause(c.started))
		}
	}
	c.awaitUsable(o)
	c.install(o)
	return c
}

// complete makes of a lone API server one that has controllers, and whose users have rights of their own.
// What only controllers that are off could satisfy is not asked for.
func (o *options) complete(server *apiserver.Options) {
	server.AuthorizationModes = []string{"Node", "RBAC"}
	server.DisableAdmissionPlugins = nil
	server.Kubelet = o.kubelet
	if !o.runs("serviceaccount-controller") {
		server.DisableAdmissionPlugins = append(server.DisableAdmissionPlugins, "ServiceAccount")
	}
	if !o.runs("persistentvolumeclaim-protection-controller") || !o.runs("persistentvolume-protection-controller") {
		server.DisableAdmissionPlugins = append(server.DisableAdmissionPlugins, "StorageObjectInUseProtection")
	}
	if !o.runs("node-lifecycle-controller") {
		server.DisableAdmissionPlugins = append(server.DisableAdmissionPlugins, "TaintNodesByCondition")
	}
}

func (o *options) runs(controller string) bool { return !o.noControl && o.controllers.Runs(controller) }

// install installs what the test has in files.
func (c *Cluster) install(o *options) {
	c.t.Helper()
	if len(o.crds) > 0 {
		if _, err := envtest.InstallCRDs(c.Config, envtest.CRDInstallOptions{Paths: o.crds, ErrorIfPathMissing: true, MaxTime: patience}); err != nil {
			c.t.Fatalf("installing custom resource definitions: %v", err)
		}
	}
	if len(o.webhooks) == 0 {
		return
	}
	c.hooks = &envtest.WebhookInstallOptions{Paths: o.webhooks}
	if err := c.hooks.Install(c.Config); err != nil {
		c.t.Fatalf("installing webhooks: %v", err)
	}
	c.t.Cleanup(func() {
		if err := c.hooks.Cleanup(); err != nil {
			c.t.Errorf("removing the webhooks' certificates: %v", err)
		}
	})
}

// WebhookOptions are those of the server that the webhooks of WithWebhooks call: webhook.NewServer makes it.
func (c *Cluster) WebhookOptions() webhook.Options {
	if c.hooks == nil {
		c.t.Helper()
		c.t.Fatal("there are no webhooks; use WithWebhooks")
	}
	return webhook.Options{Host: c.hooks.LocalServingHost, Port: c.hooks.LocalServingPort, CertDir: c.hooks.LocalServingCertDir}
}

// kubelet says how the API server reaches the simulated nodes.
func kubelet(t testing.TB, a *simulate.Authority) apiserver.KubeletOptions {
	t.Helper()
	o := apiserver.NewOptions().Kubelet
	cert, key, err := a.Client("kube-apiserver-kubelet-client", user.SystemPrivilegedGroup)
	if err != nil {
		t.Fatalf("making the API server's certificate for nodes: %v", err)
	}
	dir := t.TempDir()
	for path, data := range map[*string][]byte{&o.ClientCertFile: cert, &o.ClientKeyFile: key, &o.CAFile: a.CertPEM} {
		f, err := os.CreateTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(data)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		*path = f.Name()
	}
	return o
}

// plain lets each client library choose its encoding: types that have no protobuf, such as those of custom
// resources, are then read and written without ado.
func plain(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.ContentConfig = rest.ContentConfig{}
	return cfg
}

// TLS is a configuration for clients that may do everything, over the network: for programs that are
// given a URL, and for exec and the like.
func (c *Cluster) TLS() *rest.Config { return apiservertest.TLS(c.server) }

// Kubeconfig writes a file by which kubectl and other programs may do everything, and returns its path. It is
// removed with the test's other files.
func (c *Cluster) Kubeconfig() string {
	c.t.Helper()
	cfg, kc := c.TLS(), clientcmdapi.NewConfig()
	const name = "clustertest"
	kc.Clusters[name] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	kc.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: cfg.BearerToken}
	kc.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	kc.CurrentContext = name
	path := filepath.Join(c.t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*kc, path); err != nil {
		c.t.Fatalf("writing a kubeconfig: %v", err)
	}
	return path
}

// As is a configuration for clients that act as somebody else, within the process.
func (c *Cluster) As(name string, groups ...string) *rest.Config { return plain(c.as(name, groups...)) }

func (c *Cluster) as(name string, groups ...string) *rest.Config {
	return c.server.ClientConfig(&user.DefaultInfo{Name: name, Groups: append(groups, user.AllAuthenticated)})
}

// run runs a part until the test ends.
func (c *Cluster) run(name string, do func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background()) // not the test's, which ends before its cleanups
	done := make(chan error, 1)
	go func() {
		err := do(ctx)
		if err != nil {
			c.failed(fmt.Errorf("running %s: %w", name, err))
		}
		done <- err
	}()
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("running %s: %v", name, err)
		}
	})
}

// awaitUsable waits for what pods need to be admitted and bound. What does not run is not waited for.
func (c *Cluster) awaitUsable(o *options) {
	c.t.Helper()
	if o.noControl {
		return
	}
	client, err := kubernetes.NewForConfig(c.as("admin", user.SystemPrivilegedGroup))
	if err != nil {
		c.t.Fatalf("making a client: %v", err)
	}
	if len(o.pools) > 0 && o.runs("local-path-provisioner-controller") {
		if err := localpath.EnsureClass(c.started, client); err != nil {
			c.t.Fatalf("making the default storage class: %v", err)
		}
	}
	if err := awaitUsable(c.started, client, o); err != nil {
		c.t.Fatalf("waiting until the cluster can be used: %v", errors.Join(err, context.Cause(c.started)))
	}
}

func awaitUsable(ctx context.Context, client kubernetes.Interface, o *options) error {
	if o.runs("serviceaccount-controller") {
		accounts := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "serviceaccounts", metav1.NamespaceDefault, fields.OneTermEqualSelector("metadata.name", "default"))
		if err := until(ctx, accounts, &corev1.ServiceAccount{}, func(runtime.Object) bool { return true }); err != nil {
			return fmt.Errorf("the default service account: %w", err)
		}
	}
	if !o.runs("node-lifecycle-controller") {
		return nil
	}
	for _, p := range o.pools {
		want := map[string]bool{}
		for i := range p.Count {
			want[fmt.Sprintf("%s-%d", cmp.Or(p.Name, simulate.DefaultName), i)] = true
		}
		if len(want) == 0 {
			continue
		}
		nodes := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "nodes", "", fields.Everything())
		err := until(ctx, nodes, &corev1.Node{}, func(o runtime.Object) bool {
			if n, is := o.(*corev1.Node); is && usable(n) {
				delete(want, n.Name)
			}
			return len(want) == 0
		})
		if err != nil {
			return fmt.Errorf("%d nodes of %s: %w", len(want), p.Name, err)
		}
	}
	return nil
}

// until waits until a condition holds for an object, of those there are and those that come.
func until(ctx context.Context, lw *cache.ListWatch, kind runtime.Object, holds func(runtime.Object) bool) error {
	_, err := watchtools.UntilWithSync(ctx, lw, kind, nil, func(e watch.Event) (bool, error) {
		return e.Type != watch.Deleted && holds(e.Object), nil
	})
	return err
}

// usable tells whether the scheduler would put pods on a node.
func usable(n *corev1.Node) bool {
	for _, t := range n.Spec.Taints {
		if t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable {
			return false
		}
	}
	return true
}
