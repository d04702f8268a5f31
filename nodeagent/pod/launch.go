package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/nodeagent/lifecycle"
	"coracle.dev/coracle/nodeagent/spec"
)

// Delays between launches that failed as a whole.
const (
	firstRelaunch = 500 * time.Millisecond
	maxRelaunch   = 30 * time.Second
)

// A runtime that takes longer has lost the call; it is asked what has become
// of it, and then again.
const (
	sandboxTimeout   = 4 * time.Minute
	containerTimeout = 2 * time.Minute
)

// launch makes a pod, or parts of it. It works on copies of what the worker
// knew when it began and reports through the mailbox.
type launch struct {
	w       *worker
	m       *Manager
	pod     *corev1.Pod
	plan    lifecycle.Plan
	running []lifecycle.Container
	created map[string][]string // containers made but never started, by name
	old     map[string][]lifecycle.Container
	sandbox lifecycle.Sandbox
	stale   []string // sandboxes to be stopped
	volumes map[string]string
	ready   bool // volumes were made before
	config  *runtimev1.PodSandboxConfig
}

func (w *worker) newLaunch(plan lifecycle.Plan) *launch {
	l := &launch{
		w: w, m: w.m, pod: w.pod, plan: plan, running: w.obs.Running(),
		created: map[string][]string{}, old: map[string][]lifecycle.Container{},
		volumes: w.volumes, ready: w.volumesReady,
	}
	l.sandbox, _ = w.obs.Sandbox()
	for id := range w.obs.Sandboxes {
		l.stale = append(l.stale, id)
	}
	for _, c := range w.obs.Containers {
		if c.State == lifecycle.Created {
			l.created[c.Name] = append(l.created[c.Name], c.ID)
		}
		if l.old[c.Name] == nil {
			l.old[c.Name] = w.obs.Instances(c.Name)
		}
	}
	return l
}

func (l *launch) run(ctx context.Context) {
	err := l.steps(ctx)
	if err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).V(2).Info("Launch did not complete", "err", err)
	}
	interrupted := ctx.Err() != nil
	l.w.post(func() { l.w.launched(err, interrupted) })
}

// launched is the end of a launch.
func (w *worker) launched(err error, interrupted bool) {
	w.launching()
	w.launching = nil
	if err == nil && !interrupted {
		w.launchDelay = 0
		return
	}
	w.known = false // the runtime may have got further than was heard
	if interrupted {
		return
	}
	w.launchDelay = min(max(2*w.launchDelay, firstRelaunch), maxRelaunch)
	w.launchAfter = time.Now().Add(w.launchDelay)
}

func (l *launch) steps(ctx context.Context) error {
	if l.plan.StopSandboxes {
		if err := l.stopOld(ctx); err != nil {
			return err
		}
	}
	if err := l.makeVolumes(ctx); err != nil {
		return err
	}
	hostname, domain, err := spec.Hostname(l.pod, l.m.ClusterDomain)
	if err != nil {
		return err
	}
	if l.config, err = l.sandboxConfig(hostname, domain); err != nil {
		l.sandboxFailed(err)
		return err
	}
	if l.plan.NewSandbox {
		if err := l.makeSandbox(ctx); err != nil {
			return err
		}
	}
	hosts := l.hostsFile()
	if _, err := os.Stat(hosts); l.plan.NewSandbox || err != nil {
		if err := l.writeHosts(hosts, hostname, domain); err != nil {
			return err
		}
	}
	for _, s := range l.plan.Start {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.start(ctx, s)
	}
	return nil
}

// stopOld ends what a lost sandbox left behind.
func (l *launch) stopOld(ctx context.Context) error {
	if l.plan.SandboxChanged {
		l.m.ContainerEvent(l.pod, "", corev1.EventTypeNormal, ReasonSandboxChanged, "Pod sandbox changed, it will be killed and re-created.")
	}
	for _, c := range l.running {
		if err := l.m.stopContainer(ctx, c.ID, spec.GracePeriod(l.pod)); err != nil {
			return err
		}
		l.ask(ctx, c.ID, c.SandboxID)
	}
	for _, id := range l.stale {
		if err := l.m.stopSandbox(ctx, id); err != nil {
			return err
		}
		l.w.post(func() { l.w.sandboxStopped(id) })
	}
	return nil
}

func (w *worker) sandboxStopped(id string) {
	if s, ok := w.obs.Sandboxes[id]; ok {
		s.Ready = false
		w.obs.Sandboxes[id] = s
	}
}

func (l *launch) makeVolumes(ctx context.Context) error {
	if l.ready {
		return nil
	}
	volumes, err := l.m.Volumes.Setup(ctx, l.pod)
	if err != nil {
		if ctx.Err() == nil {
			l.m.ContainerEvent(l.pod, "", corev1.EventTypeWarning, ReasonFailedMount, err.Error())
		}
		return err
	}
	l.volumes = volumes
	l.w.post(func() { l.w.volumes, l.w.volumesReady = volumes, true })
	return nil
}

// refresh brings the pod's volumes up to date beside everything else.
func (w *worker) refresh() {
	if w.termination != nil {
		return
	}
	if w.refreshing {
		w.refreshAgain = true
		return
	}
	w.refreshing = true
	pod := w.pod
	go func() {
		volumes, err := w.m.Volumes.Setup(w.ctx, pod)
		if err != nil && w.ctx.Err() == nil {
			w.m.ContainerEvent(pod, "", corev1.EventTypeWarning, ReasonFailedMount, err.Error())
		}
		w.post(func() {
			w.refreshing = false
			if err == nil || w.volumes == nil {
				w.volumes = volumes
			}
			w.volumesReady = true // containers run with them, whatever is wrong now
			if w.refreshAgain {
				w.refreshAgain = false
				w.refresh()
			}
		})
	}()
}

func (l *launch) sandboxConfig(hostname, domain string) (*runtimev1.PodSandboxConfig, error) {
	if l.pod.Spec.HostUsers != nil && !*l.pod.Spec.HostUsers {
		return nil, errors.New("hostUsers: false is not supported by this node")
	}
	uts, err := spec.UTSHostname(l.pod, hostname, domain)
	if err != nil {
		return nil, err
	}
	in := spec.SandboxInput{
		Pod: l.pod, Attempt: l.plan.SandboxAttempt, Hostname: uts,
		DNS:          spec.DNS(l.pod, spec.DNSInput{Host: l.m.HostResolver(), ClusterDNS: l.m.ClusterDNS, ClusterDomain: l.m.ClusterDomain}),
		CgroupParent: l.m.Cgroups.PodPath(string(l.pod.UID)),
	}
	if !l.plan.NewSandbox {
		in.Attempt = l.sandbox.Attempt
	}
	return spec.Sandbox(in, l.m.Spec), nil
}

func (l *launch) makeSandbox(ctx context.Context) error {
	if err := l.m.Cgroups.Create(string(l.pod.UID), l.config.Linux.Resources); err != nil {
		l.sandboxFailed(err)
		return err
	}
	if err := os.MkdirAll(l.config.LogDirectory, 0o755); err != nil {
		return fmt.Errorf("creating log folder: %w", err)
	}
	handler, err := l.handler(ctx)
	if err != nil {
		l.sandboxFailed(err)
		return err
	}
	req := &runtimev1.RunPodSandboxRequest{Config: l.config, RuntimeHandler: handler}
	running, cancel := context.WithTimeout(ctx, sandboxTimeout)
	defer cancel()
	res, err := l.m.CRI.RunPodSandbox(running, req)
	if err != nil {
		if ctx.Err() == nil {
			l.sandboxFailed(err)
		}
		return err
	}
	status, err := l.m.CRI.PodSandboxStatus(ctx, &runtimev1.PodSandboxStatusRequest{PodSandboxId: res.PodSandboxId})
	if err != nil {
		return fmt.Errorf("asking for the new sandbox: %w", err)
	}
	l.sandbox = sandboxFrom(status.Status)
	l.w.post(func() { l.w.mergeSandbox(status.Status) })
	return nil
}

// handler is the runtime handler of the pod's runtime class, or what the
// runtime itself would have for such a pod.
func (l *launch) handler(ctx context.Context) (string, error) {
	if name := l.pod.Spec.RuntimeClassName; name != nil && *name != "" {
		class, err := l.m.Client.NodeV1().RuntimeClasses().Get(ctx, *name, metav1.GetOptions{})
		if err != nil {
			return "", fmt.Errorf("failed to get sandbox runtime: no runtime for %q is configured: %w", *name, err)
		}
		return class.Handler, nil
	}
	if l.m.RuntimeHandler == nil {
		return "", nil
	}
	return l.m.RuntimeHandler(l.config.GetLinux().GetSecurityContext().GetNamespaceOptions()), nil
}

func (l *launch) sandboxFailed(err error) {
	l.m.ContainerEvent(l.pod, "", corev1.EventTypeWarning, ReasonFailedSandbox, fmt.Sprintf("Failed to create pod sandbox: %v", err))
}

func (l *launch) hostsFile() string { return filepath.Join(l.m.Volumes.PodDir(l.pod.UID), "etc-hosts") }

// ips of the pod; those of the node for a pod in its network.
func (l *launch) ips() []string {
	if l.pod.Spec.HostNetwork {
		return l.m.HostIPs
	}
	return l.sandbox.IPs
}

func (l *launch) writeHosts(path, hostname, domain string) error {
	var host []byte
	if l.pod.Spec.HostNetwork {
		var err error
		if host, err = os.ReadFile(spec.EtcHostsPath); err != nil {
			return fmt.Errorf("reading the node's hosts file: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("creating pod folder: %w", err)
	}
	// Written in place: running containers have this very file mounted.
	if err := os.WriteFile(path, spec.HostsFile(l.pod, l.ips(), hostname, domain, host), 0o644); err != nil {
		return fmt.Errorf("writing hosts file: %w", err)
	}
	return nil
}

// ask learns the state of a container and passes it on.
func (l *launch) ask(ctx context.Context, id, sandboxID string) (*runtimev1.ContainerStatus, error) {
	res, err := l.m.CRI.ContainerStatus(ctx, &runtimev1.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		return nil, err
	}
	l.w.post(func() { l.w.mergeContainer(res.Status, sandboxID) })
	return res.Status, nil
}
