package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/componentstatus"
	"coracle.dev/coracle/cluster/preflight"
	"coracle.dev/coracle/controllers"
	"coracle.dev/coracle/nodeagent"
	"coracle.dev/coracle/nodeagent/network"
	"coracle.dev/coracle/nodeagent/runtime/footprint"
	"coracle.dev/coracle/scheduler"
)

// startSettled is when what only the start needed can go.
const startSettled = 10 * time.Second

// Run runs the cluster in this process until ctx ends or a part fails. Containers outlive it.
//
// report hears of each stage of the start; StageReady comes last, when the node is Ready.
func Run(ctx context.Context, c *Config, report Progress) error {
	begin := time.Now()
	stage := func(name, detail string) { report(Event{Stage: name, Detail: detail, Took: time.Since(begin)}) }
	release, err := hold(c)
	if err != nil {
		return err
	}
	defer release()
	if err := refuse(Check(ctx, c)); err != nil {
		return err
	}
	stage(StagePreflight, "")
	r, err := newRunner(ctx, c, begin)
	if err != nil {
		return err
	}
	stage(StageCertificates, "")
	nodeReady := make(chan struct{})
	r.add("node agent", func(ctx context.Context) error {
		o := agentOptions(c, r.pki)
		o.OnReady = func() { close(nodeReady) }
		return nodeagent.Run(ctx, r.as("system:node:"+c.NodeName, user.NodesGroup), o)
	})
	r.afterReady("start", func(ctx context.Context) error {
		stage(StageAPIServer, fmt.Sprintf("https://127.0.0.1:%d", c.SecurePort))
		err := awaitReady(ctx, c, r.as("kubernetes-admin", user.SystemPrivilegedGroup), nodeReady, stage)
		footprint.ShrinkAfter(ctx, startSettled)
		return err
	})
	return r.run(ctx)
}

// RunServer runs the cluster without a node until ctx ends or a part fails.
func RunServer(ctx context.Context, c *Config) error {
	release, err := hold(c)
	if err != nil {
		return err
	}
	defer release()
	r, err := newRunner(ctx, c, time.Now())
	if err != nil {
		return err
	}
	r.afterReady("start", func(ctx context.Context) error {
		return ensureObjects(ctx, c, r.as("kubernetes-admin", user.SystemPrivilegedGroup))
	})
	return r.run(ctx)
}

// runner runs an API server and, around it, the parts that are its clients.
type runner struct {
	pki    *PKI
	server *apiserver.Server
	parts  []part
}

type part struct {
	name string
	run  func(context.Context) error
	// running is whether run has begun and not returned.
	running *atomic.Bool
}

// components are the parts that have a ComponentStatus, by the name that it has in Kubernetes.
var components = map[string]string{"controllers": "controller-manager", "scheduler": "scheduler"}

// componentChecks tell how the components of this process are.
func (r *runner) componentChecks() map[string]componentstatus.Check {
	checks := map[string]componentstatus.Check{}
	for _, p := range r.parts {
		name, is := components[p.name]
		if !is {
			continue
		}
		checks[name] = func(context.Context) (string, error) {
			if !p.running.Load() {
				return "", errors.New("not running")
			}
			return "ok", nil
		}
	}
	return checks
}

// newRunner makes what is on disk before any part runs, the API server, and the control loops.
func newRunner(ctx context.Context, c *Config, now time.Time) (*runner, error) {
	r := &runner{}
	var err error
	if r.pki, err = ensurePKI(c, now); err != nil {
		return nil, err
	}
	if err := ensureKubeconfigs(c, r.pki, now); err != nil {
		return nil, err
	}
	if r.server, err = newAPIServer(ctx, c, r.pki, r.componentChecks); err != nil {
		return nil, fmt.Errorf("making the API server: %w", err)
	}
	loops := controllerOptions{Options: controllers.Options{
		ClusterName: c.Name, RootCA: r.pki.CAPEM(), ClusterCIDR: c.ClusterCIDR, LoadBalancerPools: []netip.Prefix{c.LoadBalancerIPRange},
		ClusterSigningCertFile: r.pki.File("ca.crt"), ClusterSigningKeyFile: r.pki.File("ca.key"),
	}}
	if err := parseArgs("kube-controller-manager-arg", c.ControllerArgs, loops.addFlags); err != nil {
		return nil, err
	}
	controllerOptions, err := loops.complete()
	if err != nil {
		return nil, err
	}
	var schedulerOptions scheduler.Options
	if err := parseArgs("kube-scheduler-arg", c.SchedulerArgs, func(fs *pflag.FlagSet) { addSchedulerFlags(fs, &schedulerOptions) }); err != nil {
		return nil, err
	}
	r.afterReady("controllers", func(ctx context.Context) error {
		return controllers.Run(ctx, r.as("system:kube-controller-manager"), controllerOptions)
	})
	r.afterReady("scheduler", func(ctx context.Context) error {
		return scheduler.Run(ctx, r.as("system:kube-scheduler"), schedulerOptions)
	})
	return r, nil
}

// as is a client's configuration that calls the API server in process, as a user of that name.
func (r *runner) as(name string, groups ...string) *rest.Config {
	return r.server.ClientConfig(&user.DefaultInfo{Name: name, Groups: append(groups, user.AllAuthenticated)})
}

// add gives the runner a part that bears an API server that is not ready yet.
func (r *runner) add(name string, run func(context.Context) error) {
	running := &atomic.Bool{}
	r.parts = append(r.parts, part{name, func(ctx context.Context) error {
		running.Store(true)
		defer running.Store(false)
		return run(ctx)
	}, running})
}

// afterReady gives it a part that is started when the API server is ready.
func (r *runner) afterReady(name string, run func(context.Context) error) {
	r.add(name, func(ctx context.Context) error {
		select {
		case <-r.server.Ready():
			return run(ctx)
		case <-ctx.Done():
			return nil
		}
	})
}

// run begins with the server and ends with it, so that the parts' last writes arrive. The failure
// of one ends all.
func (r *runner) run(ctx context.Context) error {
	serverCtx, stopServer := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServer()
	g, partsCtx := errgroup.WithContext(ctx)
	served := make(chan error, 1)
	g.Go(func() error {
		go func() { served <- r.server.Run(serverCtx) }()
		select {
		case err := <-served:
			served <- nil // heard
			return errors.Join(errors.New("the API server ended"), err)
		case <-partsCtx.Done():
			return nil
		}
	})
	for _, p := range r.parts {
		g.Go(func() error {
			logger := klog.LoggerWithName(klog.FromContext(partsCtx), p.name)
			err := p.run(klog.NewContext(partsCtx, logger))
			if err == nil || partsCtx.Err() != nil && errors.Is(err, context.Canceled) {
				return nil
			}
			return fmt.Errorf("%s: %w", p.name, err)
		})
	}
	err := g.Wait()
	stopServer()
	return errors.Join(err, <-served)
}

// refuse makes an error of the findings that keep a cluster from starting, and logs the others.
func refuse(findings []preflight.Finding) error {
	var errs []error
	for _, f := range findings {
		switch f.Level {
		case preflight.Failure:
			errs = append(errs, fmt.Errorf("%s: %s; remedy: %s", f.Check, f.Detail, f.Remedy))
		case preflight.Warning:
			klog.InfoS("Preflight warning", "check", f.Check, "detail", f.Detail, "remedy", f.Remedy)
		}
	}
	return errors.Join(errs...)
}

// Check runs the preflight checks for a cluster that does not run.
func Check(ctx context.Context, c *Config) []preflight.Finding {
	t := preflight.Target{DataDir: c.DataDir, Own: []string{c.Bridge, network.LinkPrefix(c.Name) + "*"}}
	if pid := Running(c); pid == 0 || pid == os.Getpid() {
		t.Ports = map[string]int{"secure-port": c.SecurePort, "agent-port": c.AgentPort}
		t.Ranges = rangesByFlag(c)
	}
	return preflight.Run(ctx, t)
}
