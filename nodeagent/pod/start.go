package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"google.golang.org/grpc/status"

	"coracle.dev/coracle/nodeagent/lifecycle"
	"coracle.dev/coracle/nodeagent/pull"
	"coracle.dev/coracle/nodeagent/spec"
)

// Delays after a container could not be started.
const (
	retryConfig = 5 * time.Second
	retryCreate = 10 * time.Second
	// showBackOff is how long ErrImagePull is shown before ImagePullBackOff.
	showBackOff = 2 * time.Second
)

// failure is why a container was not started, and until when it rests.
type failure struct {
	lifecycle.StartError
	until time.Time
}

// start makes and starts one container and reports how that went.
func (l *launch) start(ctx context.Context, s lifecycle.Start) {
	c := spec.FindContainer(l.pod, s.Name)
	if c == nil {
		return
	}
	f := l.tryStart(ctx, c, s)
	if ctx.Err() != nil {
		return
	}
	if f == nil {
		l.w.post(func() {
			delete(l.w.errors, s.Name)
			delete(l.w.notBefore, s.Name)
		})
		l.prune(ctx, s.Name)
		return
	}
	l.w.post(func() {
		l.w.errors[s.Name] = f.StartError
		l.w.notBefore[s.Name] = f.until
	})
}

func (l *launch) tryStart(ctx context.Context, c *corev1.Container, s lifecycle.Start) *failure {
	image, err := l.m.Puller.Ensure(ctx, pull.Request{Pod: l.pod, Container: c.Name, Image: c.Image, Policy: c.ImagePullPolicy, Sandbox: l.config})
	if err != nil {
		return l.pullFailed(ctx, c, err)
	}
	if err := l.pullVolumes(ctx, c); err != nil {
		return l.pullFailed(ctx, c, err)
	}
	config, err := l.containerConfig(ctx, c, s, image)
	if err != nil {
		return l.failed(ctx, c, waitConfigError, err.Error(), retryConfig)
	}
	for _, id := range l.created[c.Name] {
		if _, err := l.m.CRI.RemoveContainer(ctx, &runtimev1.RemoveContainerRequest{ContainerId: id}); err != nil {
			return l.failed(ctx, c, waitCreateError, message(err), retryCreate)
		}
	}
	creating, cancel := context.WithTimeout(ctx, containerTimeout)
	defer cancel()
	made, err := l.m.CRI.CreateContainer(creating, &runtimev1.CreateContainerRequest{PodSandboxId: l.sandbox.ID, Config: config, SandboxConfig: l.config})
	if err != nil {
		return l.failed(ctx, c, waitCreateError, message(err), retryCreate)
	}
	l.w.post(func() { l.w.resizing.actual[made.ContainerId] = c.Resources })
	l.m.ContainerEvent(l.pod, c.Name, corev1.EventTypeNormal, ReasonCreated, "Container created")
	hook := c.Lifecycle != nil && c.Lifecycle.PostStart != nil
	if hook {
		l.w.post(func() { l.w.hooking[c.Name] = true })
		defer l.w.post(func() { delete(l.w.hooking, c.Name) })
	}
	starting, cancelStart := context.WithTimeout(ctx, containerTimeout)
	defer cancelStart()
	if _, err := l.m.CRI.StartContainer(starting, &runtimev1.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
		_, _ = l.ask(ctx, made.ContainerId, l.sandbox.ID)
		return l.failed(ctx, c, waitRunError, message(err), retryCreate)
	}
	l.m.ContainerEvent(l.pod, c.Name, corev1.EventTypeNormal, ReasonStarted, "Container started")
	if _, err := l.ask(ctx, made.ContainerId, l.sandbox.ID); err != nil {
		klog.FromContext(ctx).V(2).Info("Could not ask about a new container", "container", c.Name, "err", err)
		l.w.post(func() { l.w.known = false })
	}
	if hook {
		return l.postStart(ctx, c, made.ContainerId)
	}
	return nil
}

// pullVolumes fetches the images that the container mounts.
func (l *launch) pullVolumes(ctx context.Context, c *corev1.Container) error {
	for _, m := range c.VolumeMounts {
		for _, v := range l.pod.Spec.Volumes {
			if v.Name != m.Name || v.Image == nil {
				continue
			}
			if _, err := l.m.Puller.Ensure(ctx, pull.Request{Pod: l.pod, Container: c.Name, Image: v.Image.Reference, Policy: v.Image.PullPolicy, Sandbox: l.config}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *launch) pullFailed(ctx context.Context, c *corev1.Container, err error) *failure {
	var e *pull.Error
	if !errors.As(err, &e) {
		return &failure{StartError: lifecycle.StartError{Reason: pull.ReasonPull, Message: err.Error()}, until: time.Now().Add(showBackOff)}
	}
	if ctx.Err() == nil {
		l.m.ContainerEvent(l.pod, c.Name, corev1.EventTypeWarning, ReasonFailed, "Error: "+e.Reason)
	}
	until := e.RetryAt
	if e.Reason == pull.ReasonPull {
		until = time.Now().Add(showBackOff)
	}
	if until.IsZero() {
		until = time.Now().Add(retryCreate)
	}
	return &failure{StartError: lifecycle.StartError{Reason: e.Reason, Message: e.Message}, until: until}
}

func (l *launch) failed(ctx context.Context, c *corev1.Container, reason, text string, rest time.Duration) *failure {
	if ctx.Err() == nil {
		l.m.ContainerEvent(l.pod, c.Name, corev1.EventTypeWarning, ReasonFailed, "Error: "+text)
	}
	return &failure{StartError: lifecycle.StartError{Reason: reason, Message: text}, until: time.Now().Add(rest)}
}

// message is an error of the runtime without its transport's wrapping.
func message(err error) string {
	if s, ok := status.FromError(err); ok {
		return s.Message()
	}
	return err.Error()
}

func (l *launch) containerConfig(ctx context.Context, c *corev1.Container, s lifecycle.Start, image pull.Image) (*runtimev1.ContainerConfig, error) {
	services, err := l.m.Services(ctx)
	if err != nil {
		return nil, err
	}
	env, err := spec.Env(ctx, c, spec.EnvInput{
		Pod: l.pod, PodIPs: l.ips(), HostIPs: l.m.HostIPs, Services: services,
		Allocatable: l.m.Allocatable(), Objects: l.m.Objects, VolumePaths: l.volumes,
	})
	if err != nil {
		return nil, err
	}
	messageFile, err := l.messageFile(c)
	if err != nil {
		return nil, err
	}
	mounts, err := spec.Mounts(spec.MountInput{
		Pod: l.pod, Container: c, Volumes: l.volumes, Env: env,
		SubPath: func(i int, dir, sub string) (string, error) {
			return l.m.Volumes.SubPath(l.pod.UID, c.VolumeMounts[i].Name, c.Name, i, dir, sub)
		},
		HostsFile: l.hostsFile(), MessageFile: messageFile,
	})
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(l.config.LogDirectory, c.Name), 0o755); err != nil {
		return nil, fmt.Errorf("creating log folder: %w", err)
	}
	return spec.Container(spec.ContainerInput{
		Pod: l.pod, Container: c, Attempt: uint32(s.RestartCount), ImageRef: image.ID, ImageUser: image.User,
		Env: env, Mounts: mounts, TargetID: l.target(c.Name),
	}, l.m.Spec)
}

// messageFile makes the file in which the container may leave a last word.
func (l *launch) messageFile(c *corev1.Container) (string, error) {
	if c.TerminationMessagePath == "" {
		return "", nil
	}
	dir := filepath.Join(l.m.Volumes.PodDir(l.pod.UID), "containers", c.Name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("creating container folder: %w", err)
	}
	path := filepath.Join(dir, rand.String(8))
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return "", fmt.Errorf("creating termination message: %w", err)
	}
	// Any user of the container may write it, whatever this process's mask.
	if err := os.Chmod(path, 0o666); err != nil {
		return "", fmt.Errorf("opening termination message: %w", err)
	}
	return path, nil
}

// target is the container whose processes an ephemeral container sees.
func (l *launch) target(name string) string {
	for _, e := range l.pod.Spec.EphemeralContainers {
		if e.Name == name && e.TargetContainerName != "" {
			if list := l.old[e.TargetContainerName]; len(list) > 0 && list[0].State == lifecycle.Running {
				return list[0].ID
			}
		}
	}
	return ""
}

func (l *launch) postStart(ctx context.Context, c *corev1.Container, id string) *failure {
	err := l.m.hook(ctx, l.pod, c, id, c.Lifecycle.PostStart, l.ips())
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return nil
	}
	l.m.ContainerEvent(l.pod, c.Name, corev1.EventTypeWarning, ReasonFailedPostStart, "PostStartHook failed")
	klog.FromContext(ctx).V(2).Info("A postStart hook failed", "container", c.Name, "err", err)
	l.m.ContainerEvent(l.pod, c.Name, corev1.EventTypeNormal, ReasonKilling, "FailedPostStartHook")
	if err := l.m.stopContainer(ctx, id, spec.GracePeriod(l.pod)); err != nil {
		klog.FromContext(ctx).V(2).Info("Could not stop a container", "container", c.Name, "err", err)
	}
	_, _ = l.ask(ctx, id, l.sandbox.ID)
	return &failure{StartError: lifecycle.StartError{Reason: waitPostStartError, Message: err.Error()}}
}

// prune removes instances of the container that nobody needs any more: all
// but the one just started and the one before, whose log --previous shows.
func (l *launch) prune(ctx context.Context, name string) {
	old := l.old[name]
	for i := 1; i < len(old); i++ {
		c := old[i]
		if c.State != lifecycle.Exited {
			continue
		}
		if _, err := l.m.CRI.RemoveContainer(ctx, &runtimev1.RemoveContainerRequest{ContainerId: c.ID}); err != nil {
			klog.FromContext(ctx).V(2).Info("Could not remove an old container", "container", name, "err", err)
			continue
		}
		removeLogs(c.LogPath)
		if c.MessageFile != "" {
			_ = os.Remove(c.MessageFile)
		}
		l.w.post(func() { delete(l.w.obs.Containers, c.ID) })
	}
}

// removeLogs removes a container's log with its rotated parts.
func removeLogs(path string) {
	if path == "" {
		return
	}
	parts, err := filepath.Glob(path + "*")
	if err != nil {
		return
	}
	for _, p := range parts {
		_ = os.Remove(p)
	}
}
