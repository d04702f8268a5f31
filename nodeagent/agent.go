package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/nodeagent/cgroup"
	"coracle.dev/coracle/nodeagent/logs"
	"coracle.dev/coracle/nodeagent/node"
	"coracle.dev/coracle/nodeagent/object"
	"coracle.dev/coracle/nodeagent/pod"
	"coracle.dev/coracle/nodeagent/probe"
	"coracle.dev/coracle/nodeagent/pull"
	"coracle.dev/coracle/nodeagent/serve"
	"coracle.dev/coracle/nodeagent/spec"
	"coracle.dev/coracle/nodeagent/stats"
	"coracle.dev/coracle/nodeagent/volume"
)

// component is the name under which events are recorded; tools look for it.
const component = "kubelet"

// Runtime is a container runtime that is there already.
type Runtime struct {
	CRI    runtimev1.RuntimeServiceClient
	Images runtimev1.ImageServiceClient
	// Handler chooses the runtime handler for the namespaces that a pod wants;
	// nil means the default.
	Handler func(*runtimev1.NamespaceOption) string
	// Check is a condition of the node's readiness; nil if there is none.
	Check func() error
}

// RunOn runs the agent on a container runtime that is there already, without
// network, proxy or DNS.
func RunOn(ctx context.Context, cfg *rest.Config, o Options, r Runtime) error {
	if err := o.complete(); err != nil {
		return err
	}
	a, err := newAgent(ctx, cfg, o, r)
	if err != nil {
		return err
	}
	return a.run(ctx)
}

// agent holds what the parts share.
type agent struct {
	Options
	Runtime
	client      kubernetes.Interface
	events      record.EventBroadcaster
	cgroups     *cgroup.Manager
	capacity    corev1.ResourceList
	allocatable corev1.ResourceList
	services    *services
	volumes     *volume.Manager
	pods        *pod.Manager
}

func newAgent(ctx context.Context, cfg *rest.Config, o Options, r Runtime) (*agent, error) {
	client, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{o.RootDir, o.logDir(), filepath.Join(o.RootDir, "pods")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("creating agent folder: %w", err)
		}
	}
	a := &agent{Options: o, Runtime: r, client: client, services: newServices(client)}
	if a.cgroups, err = cgroup.New(o.cgroupBase()); err != nil {
		return nil, err
	}
	if a.capacity, a.allocatable, err = node.Capacity(o.RootDir, int64(o.MaxPods)); err != nil {
		return nil, err
	}
	a.wire(ctx)
	return a, nil
}

// newClient has no rate limit of its own: the server's fairness decides.
func newClient(cfg *rest.Config) (kubernetes.Interface, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(rest.AddUserAgent(cfg, "coracle-agent"))
	if err != nil {
		return nil, fmt.Errorf("making the agent's client: %w", err)
	}
	return client, nil
}

// wire makes the parts that run pods.
func (a *agent) wire(ctx context.Context) {
	a.events = record.NewBroadcaster(record.WithContext(ctx))
	recorder := a.events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: component, Host: a.NodeName})
	objects := object.New(ctx, a.client, func(uid types.UID) { a.pods.ObjectChanged(uid) })
	allocatable := func() corev1.ResourceList { return a.allocatable }
	hostIPs := []string{a.NodeIP.String()}
	a.volumes = volume.New(volume.Config{Root: a.RootDir, Client: a.client, Objects: objects, HostIPs: hostIPs, Allocatable: allocatable})
	puller := pull.New(pull.Config{Images: a.Images, Secrets: objects, Events: containerEvents{recorder}})
	var dns []string
	for _, ip := range a.ClusterDNS {
		dns = append(dns, ip.String())
	}
	a.pods = pod.NewManager(pod.Config{
		NodeName: a.NodeName, Hostname: a.Hostname, HostIPs: hostIPs,
		ClusterDomain: a.ClusterDomain, ClusterDNS: dns, HostResolver: a.hostResolver,
		Spec: spec.Options{
			MemoryCapacity: a.capacity.Memory().Value(), CgroupV2: a.cgroups.V2(), SwapLimit: a.cgroups.SwapLimit(), SeccompDefault: a.SeccompDefault,
			SeccompProfileDir: filepath.Join(a.RootDir, "seccomp"), LogDir: a.logDir(),
		},
		Client: a.client, CRI: a.CRI, Volumes: a.volumes, Cgroups: a.cgroups, Objects: objects, Puller: puller,
		Probes: probe.NetRunner{Exec: probe.Runtime{Client: a.CRI}}, Events: recorder,
		Services: a.services.list, Allocatable: allocatable, RuntimeHandler: a.Handler, Admit: a.admit, FitsResize: a.fitsResize,
	})
}

// containerEvents records events about containers.
type containerEvents struct{ record.EventRecorder }

// ContainerEvent implements pull.Recorder.
func (r containerEvents) ContainerEvent(p *corev1.Pod, container, kind, reason, message string) {
	pod.RecordContainerEvent(r, p, container, kind, reason, message)
}

func (a *agent) hostResolver() spec.Resolver {
	data, err := os.ReadFile(a.ResolvConf)
	if err != nil {
		return spec.Resolver{}
	}
	return spec.ParseResolver(string(data))
}

// run runs all parts until one fails or ctx ends.
func (a *agent) run(ctx context.Context) error {
	a.events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: a.client.CoreV1().Events("")})
	defer a.events.Shutdown()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.services.run(ctx, a.client) })
	g.Go(func() error { return a.pods.Run(ctx) })
	g.Go(func() error { return watchPods(ctx, a.client, a.NodeName, a.pods) })
	g.Go(func() error {
		return node.Run(ctx, node.Config{
			Name: a.NodeName, Hostname: a.Hostname, IPs: []netip.Addr{a.NodeIP}, Labels: a.Labels, Taints: a.Taints,
			Port: int32(a.Port), PodCIDR: a.PodCIDR, RootDir: a.RootDir, Capacity: a.capacity, Allocatable: a.allocatable,
			Client: a.client, CRI: a.CRI, Images: a.Images, Check: a.Check, OnReady: a.OnReady,
		})
	})
	g.Go(func() error { return a.serve(ctx) })
	g.Go(func() error {
		logs.Rotate(ctx, logs.RotateConfig{MaxSize: a.ContainerLogMaxSize, MaxFiles: a.ContainerLogMaxFiles, CRI: a.CRI, Running: a.runningLogs})
		return nil
	})
	g.Go(func() error { a.sweep(ctx); return nil })
	return g.Wait()
}

func (a *agent) runningLogs() []logs.File {
	var out []logs.File
	for _, v := range a.pods.Views() {
		for _, c := range v.Running() {
			if c.LogPath != "" {
				out = append(out, logs.File{ContainerID: c.ID, Path: c.LogPath})
			}
		}
	}
	return out
}

// sweep removes, once the API server's list is known, the folders and cgroups
// of pods that are gone.
func (a *agent) sweep(ctx context.Context) {
	if !a.pods.WaitForSync(ctx) {
		return
	}
	logger := klog.FromContext(ctx)
	uids, err := a.volumes.Pods()
	if err != nil {
		logger.Error(err, "Could not look for left-over pods")
	}
	for _, uid := range a.cgroups.Pods() {
		uids = append(uids, types.UID(uid))
	}
	for _, uid := range uids {
		if a.pods.Known(uid) {
			continue
		}
		logger.Info("Removing what is left of a pod", "podUID", uid)
		if err := errors.Join(a.volumes.Teardown(uid), a.cgroups.Remove(string(uid))); err != nil {
			logger.Error(err, "Could not remove what is left of a pod", "podUID", uid)
		}
	}
	a.sweepLogs(logger)
}

func (a *agent) sweepLogs(logger klog.Logger) {
	entries, err := os.ReadDir(a.logDir())
	if err != nil {
		logger.Error(err, "Could not look for left-over logs")
		return
	}
	for _, e := range entries {
		at := strings.LastIndexByte(e.Name(), '_')
		if at < 0 || a.pods.Known(types.UID(e.Name()[at+1:])) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(a.logDir(), e.Name())); err != nil {
			logger.Error(err, "Could not remove left-over logs")
		}
	}
}

func (a *agent) serve(ctx context.Context) error {
	if a.TLSCertFile == "" {
		return nil // an agent without an API of its own, as in simulations
	}
	return serve.Run(ctx, serve.Config{
		Address: netip.AddrPortFrom(a.BindAddress, uint16(a.Port)), CertFile: a.TLSCertFile, KeyFile: a.TLSPrivateKeyFile, ClientCAFile: a.ClientCAFile,
		NodeName: a.NodeName, Client: a.client, CRI: a.CRI, Pods: a.pods, LogDir: a.logDir(), LocalVolumes: a.volumes,
		Stats: &stats.Collector{NodeName: a.NodeName, CRI: a.CRI, Images: a.Images, Cgroups: a.cgroups, Pods: a.pods, RootDir: a.RootDir, Started: time.Now()},
	})
}
