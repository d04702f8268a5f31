package controllers

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"coracle.dev/coracle/controllers/nodelifecycle"
)

// Options say which controllers run, and how.
type Options struct {
	// ClusterName names the cluster in logs.
	ClusterName string

	// Controllers selects by name: "*" is all of them, "name" one of them,
	// "-name" leaves one out. Empty means all.
	Controllers []string

	// RootCA is the PEM bundle that pods shall trust, published to every
	// namespace. Empty: the rest.Config's.
	RootCA []byte

	// LeaderElect makes the controllers wait for the lease
	// kube-system/kube-controller-manager, for clusters with several servers.
	LeaderElect bool

	// NodeMonitorGracePeriod is how long a node may be silent before it counts
	// as unreachable. Default 50 seconds.
	NodeMonitorGracePeriod time.Duration
	// NodeEviction is how fast pods are evicted from nodes that are gone. The zero value is Kubernetes' default.
	NodeEviction nodelifecycle.Rates

	// ClusterCIDR is the range of pod addresses that is divided among the
	// nodes, in ranges of length NodeCIDRMaskSize (default 24, for IPv6 64).
	// Not valid: nodes have their ranges from elsewhere.
	ClusterCIDR      netip.Prefix
	NodeCIDRMaskSize int

	// ClusterSigningCertFile and ClusterSigningKeyFile are the authority that
	// signs approved certificate requests. Empty: nothing is signed.
	ClusterSigningCertFile, ClusterSigningKeyFile string
	// ClusterSigningDuration is how long the certificates last at most. Default
	// one year.
	ClusterSigningDuration time.Duration

	// LoadBalancerPools are the ranges out of which Services of type
	// LoadBalancer get their addresses. Empty: they get none.
	LoadBalancerPools []netip.Prefix

	// RecyclerImage runs the pods that empty volumes whose reclaim policy is
	// Recycle. Default volumebinding.DefaultRecyclerImage.
	RecyclerImage string

	// Clock is what the controllers tell the time by, and come back to objects by. Whether nodes are alive
	// is always by the machine's clock. Default: the machine's.
	Clock interface {
		clock.WithTicker
		clock.WithDelayedExecution
	}

	// MetricsAddress is where metrics are served. Default "0": nowhere.
	MetricsAddress string

	// HealthAddress is where /healthz and /readyz are served. Default: nowhere.
	HealthAddress string
}

func (o Options) withDefaults() Options {
	if len(o.Controllers) == 0 {
		o.Controllers = []string{"*"}
	}
	if o.NodeMonitorGracePeriod == 0 {
		o.NodeMonitorGracePeriod = 50 * time.Second
	}
	if o.MetricsAddress == "" {
		o.MetricsAddress = "0"
	}
	return o
}

// validate refuses names that no controller has: a misspelt "-name" would
// otherwise run what was meant to be off.
func (o Options) validate() error {
	names := Names()
	for _, c := range o.Controllers {
		if c != "*" && !slices.Contains(names, strings.TrimPrefix(c, "-")) {
			return fmt.Errorf("selecting controllers: there is no controller %q; the controllers are: %s",
				strings.TrimPrefix(c, "-"), strings.Join(names, ", "))
		}
	}
	return nil
}

// Runs tells whether the options select the controller of the given name.
func (o Options) Runs(name string) bool { return o.withDefaults().enabled(name) }

// enabled tells whether the controller of the given name is selected. What
// names it outright wins over "*".
func (o Options) enabled(name string) bool {
	switch {
	case slices.Contains(o.Controllers, "-"+name):
		return false
	case slices.Contains(o.Controllers, name):
		return true
	default:
		return slices.Contains(o.Controllers, "*")
	}
}
