package logs

import (
	"context"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	crilogs "k8s.io/cri-client/pkg/logs"
)

// Read writes a container's log as the options ask, following it until the
// container ends or ctx does.
func Read(ctx context.Context, path, containerID string, o *corev1.PodLogOptions, cri runtimev1.RuntimeServiceClient, stdout, stderr io.Writer) error {
	options := &crilogs.LogOptions{TailLines: o.TailLines, LimitBytes: o.LimitBytes, Follow: o.Follow, Timestamp: o.Timestamps}
	if o.SinceSeconds != nil {
		options.Since = time.Now().Add(-time.Duration(*o.SinceSeconds) * time.Second)
	}
	if o.SinceTime != nil {
		options.Since = o.SinceTime.Time
	}
	return crilogs.ReadLogs(ctx, path, containerID, options, statusService{cri: cri}, stdout, stderr)
}

// statusService is as much of a runtime as reading logs needs.
type statusService struct {
	internalapi.RuntimeService
	cri runtimev1.RuntimeServiceClient
}

// ContainerStatus implements internalapi.RuntimeService.
func (s statusService) ContainerStatus(ctx context.Context, id string, verbose bool) (*runtimev1.ContainerStatusResponse, error) {
	return s.cri.ContainerStatus(ctx, &runtimev1.ContainerStatusRequest{ContainerId: id, Verbose: verbose})
}
