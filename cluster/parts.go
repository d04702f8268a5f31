package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

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
	var rootCA string
	o := controllers.Options{}
	return Part{
		Name:  "controllers",
		Short: "Run the controllers against an API server",
		AddFlags: func(fs *pflag.FlagSet) {
			client.add(fs)
			fs.StringSliceVar(&o.Controllers, "controllers", []string{"*"}, "Controllers to run: * is all, NAME one of them, -NAME all but that one; known are "+fmt.Sprint(controllers.Names()))
			fs.BoolVar(&o.LeaderElect, "leader-elect", true, "Wait until no other process runs them")
			fs.DurationVar(&o.NodeMonitorGracePeriod, "node-monitor-grace-period", 0, "How long a node may be silent before it counts as unreachable (default 50s)")
			fs.TextVar(&o.ClusterCIDR, "cluster-cidr", o.ClusterCIDR, "Address range of pods, divided among the nodes (default: nodes have theirs from elsewhere)")
			fs.IntVar(&o.NodeCIDRMaskSize, "node-cidr-mask-size", 0, "Length of a node's part of --cluster-cidr (default 24, for IPv6 64)")
			fs.StringVar(&rootCA, "root-ca-file", "", "Authorities that pods shall trust (default: those of the kubeconfig)")
			fs.StringVar(&o.MetricsAddress, "metrics-bind-address", "", "Address that serves metrics (default: none)")
			fs.StringVar(&o.HealthAddress, "health-probe-bind-address", "", "Address that serves /healthz and /readyz (default: none)")
		},
		Run: func(ctx context.Context) error {
			cfg, err := client.config()
			if err != nil {
				return err
			}
			if rootCA != "" {
				if o.RootCA, err = os.ReadFile(rootCA); err != nil {
					return fmt.Errorf("reading --root-ca-file: %w", err)
				}
			}
			return controllers.Run(ctx, cfg, o)
		},
	}
}

func schedulerPart() Part {
	var client clientFlags
	o := scheduler.Options{}
	return Part{
		Name:  "scheduler",
		Short: "Run the scheduler against an API server",
		AddFlags: func(fs *pflag.FlagSet) {
			client.add(fs)
			fs.StringVar(&o.SchedulerName, "scheduler-name", "", "Name by which pods choose this scheduler (default default-scheduler)")
			fs.BoolVar(&o.LeaderElect, "leader-elect", true, "Wait until no other process schedules")
		},
		Run: func(ctx context.Context) error {
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
