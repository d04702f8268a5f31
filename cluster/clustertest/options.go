package clustertest

import (
	"net/netip"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/clock"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/controllers"
	"coracle.dev/coracle/nodeagent/simulate"
	"coracle.dev/coracle/scheduler"
)

// Option changes what Start makes.
type Option func(*options)

type options struct {
	pools       []simulate.Pool
	controllers controllers.Options
	noControl   bool
	scheduler   *scheduler.Options
	clock       Clock
	crds        []string
	webhooks    []string
	server      []func(*apiserver.Options)
	authority   *simulate.Authority
	kubelet     apiserver.KubeletOptions
}

// defaultNodes is how many simulated nodes there are.
const defaultNodes = 3

func newOptions(opts []Option) *options {
	o := &options{
		pools:     []simulate.Pool{{Name: "node", Count: defaultNodes}},
		scheduler: &scheduler.Options{},
		controllers: controllers.Options{
			// As much room as there are addresses to simulate nodes with.
			ClusterCIDR: netip.MustParsePrefix("100.64.0.0/10"),
		},
	}
	for _, f := range opts {
		f(o)
	}
	return o
}

// WithNodes makes count nodes, named node-0 and so on, in place of three.
func WithNodes(count int) Option {
	return func(o *options) { o.pools = []simulate.Pool{{Name: "node", Count: count}} }
}

// WithoutNodes makes none: pods stay pending.
func WithoutNodes() Option { return func(o *options) { o.pools = nil } }

// WithPools makes the simulated nodes that are described, in place of the default ones.
func WithPools(pools ...simulate.Pool) Option { return func(o *options) { o.pools = pools } }

// WithNodeSize makes all nodes of this size.
func WithNodeSize(cpu, memory string, pods int64) Option {
	return func(o *options) {
		for i := range o.pools {
			o.pools[i].Capacity = simulate.Capacity(resource.MustParse(cpu), resource.MustParse(memory), pods)
		}
	}
}

// WithControllers selects controllers by their names, as the flag --controllers does: "*" is all of them,
// "name" one of them, "-name" all but that one. Without any names, none run.
func WithControllers(names ...string) Option {
	return func(o *options) { o.controllers.Controllers, o.noControl = names, len(names) == 0 }
}

// WithControllerOptions changes how the controllers run.
func WithControllerOptions(change func(*controllers.Options)) Option {
	return func(o *options) { change(&o.controllers) }
}

// WithoutScheduler leaves pods unbound, save those that name their node.
func WithoutScheduler() Option { return func(o *options) { o.scheduler = nil } }

// WithScheduler runs the scheduler in another way, as with plugins of your own.
func WithScheduler(s scheduler.Options) Option { return func(o *options) { o.scheduler = &s } }

// Clock is a clock that a test moves, such as *FakeClock of k8s.io/utils/clock/testing.
type Clock interface {
	clock.WithTicker
	clock.WithDelayedExecution
}

// WithClock makes controllers and simulated pods go by a clock that the test moves, or leaves standing: CronJobs
// come due, deadlines pass, pods finish when it says so. Let it start with the present, since creation times are
// the API server's. Whether nodes are alive, retries and the scheduler's back-off go by the machine's clock.
func WithClock(c Clock) Option {
	return func(o *options) { o.clock, o.controllers.Clock = c, c }
}

// WithCRDs installs the custom resource definitions in files, or in all files of folders, and waits until they
// are served.
func WithCRDs(paths ...string) Option {
	return func(o *options) { o.crds = append(o.crds, paths...) }
}

// WithWebhooks installs the webhook configurations in files, or in all files of folders, in such a way that
// they call a server in the test's process: the one that WebhookOptions describes.
func WithWebhooks(paths ...string) Option {
	return func(o *options) { o.webhooks = append(o.webhooks, paths...) }
}

// WithAPIServer changes the API server's options before it starts.
func WithAPIServer(change func(*apiserver.Options)) Option {
	return func(o *options) { o.server = append(o.server, change) }
}
