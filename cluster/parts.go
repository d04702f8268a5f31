package cluster

import (
	"context"
	"errors"
	"net"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/componentstatus"
	"coracle.dev/coracle/controllers"
	"coracle.dev/coracle/nodeagent"
	"coracle.dev/coracle/scheduler"
)

// Part is one part of a cluster, run by itself.
type Part struct {
	Name, Short string
	AddFlags    func(*pflag.FlagSet)
	// Run runs the part until ctx ends, with what the flags said.
	Run func(ctx context.Context) error
}

// Parts lists the parts. Each call returns parts with flags of their own.
func Parts() []Part {
	return []Part{serverPart(), apiserverPart(), controllersPart(), schedulerPart(), agentPart()}
}

func serverPart() Part {
	c := &Config{Name: DefaultName}
	return Part{
		Name:  "server",
		Short: "Run API server, controllers and scheduler, without a node",
		AddFlags: func(fs *pflag.FlagSet) {
			fs.StringVar(&c.Name, "name", c.Name, "Name of the cluster")
			c.AddFlags(fs)
		},
		Run: func(ctx context.Context) error {
			settled, err := Settle(c)
			if err != nil {
				return err
			}
			return RunServer(ctx, settled)
		},
	}
}

func apiserverPart() Part {
	o := apiserver.NewOptions()
	return Part{
		Name:     "apiserver",
		Short:    "Run the API server",
		AddFlags: o.AddFlags,
		Run: func(ctx context.Context) error {
			server, err := completeAPIServer(ctx, o, nil)
			if err != nil {
				return err
			}
			return server.Run(ctx)
		},
	}
}

func controllersPart() Part {
	var client clientFlags
	o := controllerOptions{Options: controllers.Options{LeaderElect: true}}
	return Part{
		Name:  "controllers",
		Short: "Run the controllers against an API server",
		AddFlags: func(fs *pflag.FlagSet) {
			client.add(fs)
			o.addFlags(fs)
		},
		Run: func(ctx context.Context) error {
			cfg, err := client.config()
			if err != nil {
				return err
			}
			completed, err := o.complete()
			if err != nil {
				return err
			}
			return controllers.Run(ctx, cfg, completed)
		},
	}
}

func schedulerPart() Part {
	var client clientFlags
	o := scheduler.Options{LeaderElect: true}
	return Part{
		Name:  "scheduler",
		Short: "Run the scheduler against an API server",
		AddFlags: func(fs *pflag.FlagSet) {
			client.add(fs)
			addSchedulerFlags(fs, &o)
		},
		Run: func(ctx context.Context) error {
			if client.kubeconfig == "" && o.Kubeconfig != "" {
				client.kubeconfig = o.Kubeconfig
			}
			cfg, err := client.config()
			if err != nil {
				return err
			}
			return scheduler.Run(ctx, cfg, o)
		},
	}
}

func agentPart() Part {
	var client clientFlags
	c := &Config{Name: DefaultName}
	return Part{
		Name:  "agent",
		Short: "Run the node agent against an API server",
		AddFlags: func(fs *pflag.FlagSet) {
			client.add(fs)
			fs.StringVar(&c.Name, "name", c.Name, "Name of the cluster, of which the node's folders and interfaces get theirs")
			c.AddFlags(fs)
		},
		Run: func(ctx context.Context) error {
			cfg, err := client.config()
			if err != nil {
				return err
			}
			settled, err := Settle(c)
			if err != nil {
				return err
			}
			o, err := remoteAgentOptions(settled, cfg)
			if err != nil {
				return err
			}
			return nodeagent.Run(ctx, cfg, o)
		},
	}
}

// clientFlags say how a part reaches the API server.
type clientFlags struct {
	kubeconfig, master string
}

func (f *clientFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.kubeconfig, "kubeconfig", "", "Kubeconfig of the API server")
	fs.StringVar(&f.master, "master", "", "URL of the API server, in place of the kubeconfig's")
}

func (f *clientFlags) config() (*rest.Config, error) {
	if f.kubeconfig == "" && f.master == "" {
		return nil, errors.New("set --kubeconfig to a file that says where the API server is")
	}
	cfg, err := clientcmd.BuildConfigFromFlags(f.master, f.kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.QPS = -1 // the server's own fairness limits its clients
	return cfg, nil
}

// newAPIServer makes the API server of a cluster. checks tell how the other components are.
func newAPIServer(ctx context.Context, c *Config, p *PKI, checks componentChecks) (*apiserver.Server, error) {
	o := apiserver.NewOptions()
	o.BindAddress = net.ParseIP(c.BindAddress)
	o.SecurePort = c.SecurePort
	o.AdvertiseAddress = c.NodeIP.AsSlice()
	o.TLSCertFile, o.TLSPrivateKeyFile = p.File("apiserver.crt"), p.File("apiserver.key")
	o.ServiceClusterIPRange = c.ServiceClusterIPRange.String()
	o.ServiceNodePortRange = c.ServiceNodePortRange
	o.Etcd.Servers = c.EtcdServers
	o.Etcd.DataDir = c.Path("etcd")
	o.Kubelet.ClientCertFile, o.Kubelet.ClientKeyFile = p.File("apiserver-kubelet-client.crt"), p.File("apiserver-kubelet-client.key")
	o.Kubelet.CAFile = p.File("ca.crt")
	o.ProxyClientCertFile, o.ProxyClientKeyFile = p.File("front-proxy-client.crt"), p.File("front-proxy-client.key")
	a := &o.Authentication
	a.ClientCAFile = p.File("ca.crt")
	a.ServiceAccountSigningKeyFile = p.File("sa.key")
	a.ServiceAccountIssuers = []string{"https://kubernetes.default.svc." + c.ClusterDomain}
	a.BootstrapToken = true
	a.RequestHeaderClientCAFile = p.File("front-proxy-ca.crt")
	a.RequestHeaderAllowedNames = []string{"front-proxy-client"}
	if err := parseArgs("kube-apiserver-arg", c.APIServerArgs, o.AddFlags); err != nil {
		return nil, err
	}
	return completeAPIServer(ctx, o, checks)
}

type componentChecks = func() map[string]componentstatus.Check

func completeAPIServer(ctx context.Context, o *apiserver.Options, checks componentChecks) (*apiserver.Server, error) {
	if errs := o.Validate(); len(errs) > 0 {
		return nil, utilerrors.NewAggregate(errs)
	}
	config, err := o.Config(ctx)
	if err != nil {
		return nil, err
	}
	config.ComponentChecks = checks
	return config.Complete().New(ctx)
}
