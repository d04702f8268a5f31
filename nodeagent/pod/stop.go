package pod

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/nodeagent/lifecycle"
	"coracle.dev/coracle/nodeagent/spec"
)

const (
	// minGrace is what every container gets after SIGTERM, in seconds.
	minGrace = 2
	// stopSlack is how much longer than the grace period stopping may take.
	stopSlack = 2 * time.Minute
	// sameDeadline is the difference below which two deadlines are one.
	sameDeadline = 2 * time.Second
	retryStop    = time.Second
)

// kill is a container being stopped.
type kill struct {
	deadline time.Time
	running  int
}

// kill stops a container, or makes it stop sooner.
func (w *worker) kill(now time.Time, k lifecycle.Kill) {
	id := k.Container.ID
	deadline := now.Add(time.Duration(k.GracePeriod) * time.Second)
	under := w.kills[id]
	if under != nil && !deadline.Before(under.deadline.Add(-sameDeadline)) {
		return
	}
	first := under == nil
	if first {
		under = &kill{}
		w.kills[id] = under
	}
	under.deadline = deadline
	under.running++
	if k.Replace {
		w.replace[id] = true
	}
	pod, ips := w.pod, w.podIPs()
	go func() {
		err := w.m.killContainer(w.ctx, pod, ips, k, first)
		if err != nil && w.ctx.Err() == nil {
			klog.FromContext(w.ctx).Error(err, "Could not stop a container", "container", k.Container.Name)
			select {
			case <-time.After(retryStop):
			case <-w.ctx.Done():
			}
		}
		w.post(func() { w.killed(k.Container, under) })
	}()
}

func (w *worker) killed(c lifecycle.Container, under *kill) {
	under.running--
	if under.running > 0 {
		return
	}
	delete(w.kills, c.ID)
	res, err := w.m.CRI.ContainerStatus(w.ctx, &runtimev1.ContainerStatusRequest{ContainerId: c.ID})
	switch {
	case status.Code(err) == codes.NotFound:
		delete(w.obs.Containers, c.ID)
	case err == nil:
		w.mergeContainer(res.Status, c.SandboxID)
	}
}

func (w *worker) podIPs() []string {
	if w.pod.Spec.HostNetwork {
		return w.m.HostIPs
	}
	s, _ := w.obs.Sandbox()
	return s.IPs
}

// killContainer runs the preStop hook and stops the container, all within the
// grace period.
func (m *Manager) killContainer(ctx context.Context, pod *corev1.Pod, ips []string, k lifecycle.Kill, first bool) error {
	begun := time.Now()
	if first {
		m.ContainerEvent(pod, k.Container.Name, corev1.EventTypeNormal, ReasonKilling, k.Message)
		c := spec.FindContainer(pod, k.Container.Name)
		if c != nil && c.Lifecycle != nil && c.Lifecycle.PreStop != nil && k.GracePeriod > 0 {
			m.preStop(ctx, pod, c, ips, k)
		}
	}
	grace := k.GracePeriod - int64(time.Since(begun)/time.Second)
	return m.stopContainer(ctx, k.Container.ID, grace)
}

func (m *Manager) preStop(ctx context.Context, pod *corev1.Pod, c *corev1.Container, ips []string, k lifecycle.Kill) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(k.GracePeriod)*time.Second)
	defer cancel()
	if err := m.hook(ctx, pod, c, k.Container.ID, c.Lifecycle.PreStop, ips); err != nil {
		klog.FromContext(ctx).V(2).Info("A preStop hook failed", "container", c.Name, "err", err)
		m.ContainerEvent(pod, c.Name, corev1.EventTypeWarning, ReasonFailedPreStop, "PreStopHook failed")
	}
}

func (m *Manager) stopContainer(ctx context.Context, id string, grace int64) error {
	grace = max(grace, minGrace)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(grace)*time.Second+stopSlack)
	defer cancel()
	_, err := m.CRI.StopContainer(ctx, &runtimev1.StopContainerRequest{ContainerId: id, Timeout: grace})
	if err != nil && status.Code(err) != codes.NotFound {
		return fmt.Errorf("stopping container %s: %w", id, err)
	}
	return nil
}

func (m *Manager) stopSandbox(ctx context.Context, id string) error {
	_, err := m.CRI.StopPodSandbox(ctx, &runtimev1.StopPodSandboxRequest{PodSandboxId: id})
	if err != nil && status.Code(err) != codes.NotFound {
		return fmt.Errorf("stopping sandbox %s: %w", id, err)
	}
	return nil
}
