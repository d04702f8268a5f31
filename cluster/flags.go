package cluster

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/spf13/pflag"

	"coracle.dev/coracle/controllers"
	"coracle.dev/coracle/scheduler"
	schedulerconfig "coracle.dev/coracle/scheduler/config"
)

// controllerOptions are those of the controllers, with files that flags name.
type controllerOptions struct {
	controllers.Options
	rootCAFile string
}

func (o *controllerOptions) addFlags(fs *pflag.FlagSet) {
	if len(o.Controllers) == 0 {
		o.Controllers = []string{"*"}
	}
	fs.StringSliceVar(&o.Controllers, "controllers", o.Controllers, "Controllers to run: * is all, NAME one of them, -NAME all but that one; known are "+fmt.Sprint(controllers.Names()))
	fs.BoolVar(&o.LeaderElect, "leader-elect", o.LeaderElect, "Wait until no other process runs them")
	fs.DurationVar(&o.NodeMonitorGracePeriod, "node-monitor-grace-period", o.NodeMonitorGracePeriod, "How long a node may be silent before it counts as unreachable (default 50s)")
	fs.Float64Var(&o.NodeEviction.Eviction, "node-eviction-rate", o.NodeEviction.Eviction, "Of how many nodes of a zone a second pods are evicted when nodes are gone (default 0.1)")
	fs.Float64Var(&o.NodeEviction.Secondary, "secondary-node-eviction-rate", o.NodeEviction.Secondary, "The same for a large zone most of which is gone (default 0.01)")
	fs.IntVar(&o.NodeEviction.LargeZone, "large-cluster-size-threshold", o.NodeEviction.LargeZone, "Number of nodes above which a zone is large; of a smaller one most of which is gone no pods are evicted (default 50)")
	fs.Float64Var(&o.NodeEviction.Unhealthy, "unhealthy-zone-threshold", o.NodeEviction.Unhealthy, "Share of a zone's nodes that are gone when most of it is (default 0.55)")
	fs.TextVar(&o.ClusterCIDR, "cluster-cidr", o.ClusterCIDR, "Address range of pods, divided among the nodes (default: nodes have theirs from elsewhere)")
	fs.IntVar(&o.NodeCIDRMaskSize, "node-cidr-mask-size", o.NodeCIDRMaskSize, "Length of a node's part of --cluster-cidr (default 24, for IPv6 64)")
	fs.StringVar(&o.rootCAFile, "root-ca-file", o.rootCAFile, "Authorities that pods shall trust (default: those of the kubeconfig)")
	fs.StringVar(&o.ClusterSigningCertFile, "cluster-signing-cert-file", o.ClusterSigningCertFile, "Authority that signs approved certificate requests (default: nothing is signed)")
	fs.StringVar(&o.ClusterSigningKeyFile, "cluster-signing-key-file", o.ClusterSigningKeyFile, "Its key")
	fs.DurationVar(&o.ClusterSigningDuration, "cluster-signing-duration", o.ClusterSigningDuration, "How long such certificates last at most (default one year)")
	fs.Func("load-balancer-pool", "Address range for Services of type LoadBalancer; may be given several times (default: they get none)", func(text string) error {
		p, err := netip.ParsePrefix(text)
		o.LoadBalancerPools = append(o.LoadBalancerPools, p)
		return err
	})
	fs.StringVar(&o.RecyclerImage, "pv-recycler-image", o.RecyclerImage, "Image of the pods that empty volumes whose reclaim policy is Recycle; it needs a shell (default busybox)")
	fs.StringVar(&o.MetricsAddress, "metrics-bind-address", o.MetricsAddress, "Address that serves metrics (default: none)")
	fs.StringVar(&o.HealthAddress, "health-probe-bind-address", o.HealthAddress, "Address that serves /healthz and /readyz (default: none)")
}

// complete reads the files.
func (o *controllerOptions) complete() (controllers.Options, error) {
	if o.rootCAFile != "" {
		var err error
		if o.RootCA, err = os.ReadFile(o.rootCAFile); err != nil {
			return o.Options, fmt.Errorf("reading --root-ca-file: %w", err)
		}
	}
	return o.Options, nil
}

func addSchedulerFlags(fs *pflag.FlagSet, o *scheduler.Options) {
	fs.StringVar(&o.SchedulerName, "scheduler-name", o.SchedulerName, "Name by which pods choose this scheduler (default default-scheduler)")
	fs.BoolVar(&o.LeaderElect, "leader-elect", o.LeaderElect, "Wait until no other process schedules")
	fs.Func("scheduler-config", "KubeSchedulerConfiguration file with profiles, plugins and extenders; flags after it win", func(file string) error {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		*o, err = schedulerconfig.Read(data)
		return err
	})
}

// parseArgs sets flags of a part from what the cluster's own flag of that name holds.
func parseArgs(flag string, args []string, add func(*pflag.FlagSet)) error {
	fs := pflag.NewFlagSet(flag, pflag.ContinueOnError)
	fs.Usage = func() {}
	add(fs)
	for _, arg := range args {
		if err := fs.Parse([]string{"--" + arg}); err != nil {
			return fmt.Errorf("--%s %s: %w", flag, arg, err)
		}
		if fs.NArg() > 0 {
			return fmt.Errorf("--%s %s: write it as NAME=VALUE", flag, arg)
		}
	}
	return nil
}
