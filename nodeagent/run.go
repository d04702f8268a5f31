package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/nodeagent/cgroup"
	"coracle.dev/coracle/nodeagent/dns"
	"coracle.dev/coracle/nodeagent/network"
	"coracle.dev/coracle/nodeagent/proxy"
	"coracle.dev/coracle/nodeagent/runtime"
	"coracle.dev/coracle/nodeagent/spec"
	"coracle.dev/coracle/nodeagent/volume"
)

const (
	dnsPort = 53
	// dnsHealthPort is where CoreDNS has its metrics.
	dnsHealthPort = 9153
	// addressSweep is how often addresses of sandboxes that are gone are
	// looked for.
	addressSweep = 5 * time.Minute
	// stopGrace bounds the grace periods of containers when the node is taken
	// down.
	stopGrace = 30 * time.Second
)

// RuntimeConfig says where the container runtime of an agent lives.
func RuntimeConfig(o Options) runtime.Config {
	root := filepath.Join(o.RootDir, "runtime")
	return runtime.Config{RootDir: root, RunDir: o.RunDir, CNIConfDir: filepath.Join(root, "cni")}
}

func (o *Options) cniSocket() string { return filepath.Join(o.RunDir, "cni.sock") }

func (o *Options) networkConfig() network.Config {
	return network.Config{
		ClusterName: o.ClusterName, Interface: o.Bridge, PodCIDR: o.PodCIDR, ClusterCIDR: o.ClusterCIDR, ServiceCIDR: o.ServiceCIDR,
		LoadBalancerCIDR: o.LoadBalancerCIDR, StateDir: filepath.Join(o.RootDir, "network"),
	}
}

// Run runs the agent, with its container runtime, pod network, Service proxy
// and DNS server, until ctx ends or a part fails. Nothing waits for the API
// server. Containers, and the runtime, go on after the end.
func Run(ctx context.Context, cfg *rest.Config, o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	if err := os.MkdirAll(o.RunDir, 0o711); err != nil {
		return fmt.Errorf("making the agent's folder for sockets: %w", err)
	}
	net, err := network.New(ctx, o.networkConfig())
	if err != nil {
		return fmt.Errorf("setting up the pod network: %w", err)
	}
	// The network's configuration is there before containerd looks for it.
	if err := network.WriteConfList(RuntimeConfig(o).CNIConfDir, network.ConfList{Name: o.ClusterName, PluginType: runtime.CNIPlugin, Socket: o.cniSocket()}); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return net.Serve(ctx, o.cniSocket()) })
	g.Go(func() error {
		return proxy.Run(ctx, cfg, proxy.Config{
			ClusterName: o.ClusterName, NodeName: o.NodeName, NodeIPs: []netip.Addr{o.NodeIP}, NodePortAddresses: o.NodePortAddresses,
			ClusterCIDR: o.ClusterCIDR, ServiceCIDR: o.ServiceCIDR, LoadBalancerCIDR: o.LoadBalancerCIDR,
		})
	})
	g.Go(func() error {
		return dns.Run(ctx, cfg, dns.Config{
			Listen: netip.AddrPortFrom(net.Gateway(), dnsPort), Health: netip.AddrPortFrom(net.Gateway(), dnsHealthPort),
			Domain: o.ClusterDomain, NodeName: o.NodeName, ResolvConf: o.ResolvConf,
		})
	})
	g.Go(func() error {
		r, err := runtime.Start(ctx, RuntimeConfig(o))
		if err != nil {
			return err
		}
		g.Go(func() error { sweepAddresses(ctx, net, r); return nil })
		return RunOn(ctx, cfg, o, Runtime{CRI: r.CRI(), Images: r.Images(), Handler: runtime.HandlerFor})
	})
	return g.Wait()
}

func sweepAddresses(ctx context.Context, net *network.Network, r *runtime.Runtime) {
	ticker := time.NewTicker(addressSweep)
	defer ticker.Stop()
	for {
		_, err := net.Sweep(ctx, func(ctx context.Context) (map[string]bool, error) { return liveSandboxes(ctx, r.CRI()) })
		if err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Could not look for addresses that are free again")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func liveSandboxes(ctx context.Context, cri runtimev1.RuntimeServiceClient) (map[string]bool, error) {
	res, err := cri.ListPodSandbox(ctx, &runtimev1.ListPodSandboxRequest{})
	if err != nil {
		return nil, err
	}
	out := make(map[string]bool, len(res.Items))
	for _, s := range res.Items {
		out[s.Id] = true
	}
	return out, nil
}

// Stop takes the node down: it stops all containers, with their grace periods
// up to 30 s, and then the container runtime. The agent must not run. Pods
// start again with the next Run.
func Stop(ctx context.Context, o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	if _, err := os.Stat(RuntimeConfig(o).RootDir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	// A sandbox gives its address back while it is stopped.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := os.MkdirAll(o.RunDir, 0o711); err != nil {
		return fmt.Errorf("making the agent's folder for sockets: %w", err)
	}
	net, err := network.New(ctx, o.networkConfig())
	if err != nil {
		return fmt.Errorf("opening the pod network: %w", err)
	}
	served := make(chan error, 1)
	go func() { served <- net.Serve(ctx, o.cniSocket()) }()
	r, err := runtime.Start(ctx, RuntimeConfig(o))
	if err != nil {
		return err
	}
	err = errors.Join(stopContainers(ctx, r.CRI()), r.Stop(ctx))
	cancel()
	return errors.Join(err, <-served)
}

// stopContainers stops all containers at the same time.
func stopContainers(ctx context.Context, cri runtimev1.RuntimeServiceClient) error {
	res, err := cri.ListContainers(ctx, &runtimev1.ListContainersRequest{Filter: &runtimev1.ContainerFilter{
		State: &runtimev1.ContainerStateValue{State: runtimev1.ContainerState_CONTAINER_RUNNING},
	}})
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	errs := make([]error, len(res.Containers))
	var wg sync.WaitGroup
	for i, c := range res.Containers {
		grace := int64(stopGrace / time.Second)
		if own, err := strconv.ParseInt(c.Annotations[spec.AnnotationGracePeriod], 10, 64); err == nil {
			grace = min(grace, own)
		}
		wg.Go(func() {
			if _, err := cri.StopContainer(ctx, &runtimev1.StopContainerRequest{ContainerId: c.Id, Timeout: grace}); err != nil {
				errs[i] = fmt.Errorf("stopping container %s: %w", c.GetMetadata().GetName(), err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Teardown removes everything that agents with these options made: containers
// and their runtime, volumes, cgroups, network and rules, and the agent's
// folders. The agent must not run. What is gone already is no error.
func Teardown(ctx context.Context, o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	err := runtime.Cleanup(ctx, RuntimeConfig(o))
	volumes := volume.New(volume.Config{Root: o.RootDir})
	uids, listErr := volumes.Pods()
	err = errors.Join(err, listErr)
	for _, uid := range uids {
		err = errors.Join(err, volumes.Teardown(uid))
	}
	if cgroups, cgroupErr := cgroup.New(o.cgroupBase()); cgroupErr == nil {
		err = errors.Join(err, cgroups.RemoveAll())
	}
	err = errors.Join(err, proxy.Teardown(ctx, o.ClusterName), network.Teardown(ctx, o.networkConfig()))
	if err != nil {
		return fmt.Errorf("removing the node agent's things: %w", err)
	}
	// Only now: while a mount or a process is left, the folders stay, too.
	return errors.Join(os.RemoveAll(o.RunDir), os.RemoveAll(o.RootDir))
}
