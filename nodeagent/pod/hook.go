package pod

import (
	"context"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"coracle.dev/coracle/nodeagent/probe"
)

const hookAgent = "kube-lifecycle/1.37"

// hook runs a lifecycle handler of a container.
func (m *Manager) hook(ctx context.Context, pod *corev1.Pod, c *corev1.Container, id string, h *corev1.LifecycleHandler, ips []string) error {
	switch {
	case h.Exec != nil:
		res, err := m.CRI.ExecSync(ctx, &runtimev1.ExecSyncRequest{ContainerId: id, Cmd: h.Exec.Command})
		if err != nil {
			return fmt.Errorf("executing %v: %w", h.Exec.Command, err)
		}
		if res.ExitCode != 0 {
			return fmt.Errorf("command '%v' exited with %d: %s%s", h.Exec.Command, res.ExitCode, res.Stdout, res.Stderr)
		}
	case h.HTTPGet != nil:
		return httpHook(ctx, pod, c, h.HTTPGet, ips)
	case h.Sleep != nil:
		select {
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func httpHook(ctx context.Context, pod *corev1.Pod, c *corev1.Container, a *corev1.HTTPGetAction, ips []string) error {
	if len(ips) == 0 {
		return fmt.Errorf("pod %s has no address yet", pod.Name)
	}
	req, err := probe.HTTPRequest(ctx, a, c, ips[0], hookAgent)
	if err != nil {
		return err
	}
	res, err := probe.Client(0).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode < http.StatusOK || res.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("unexpected status code %d", res.StatusCode)
	}
	return nil
}
