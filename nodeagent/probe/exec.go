package probe

import (
	"context"
	"time"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Runtime executes commands through the container runtime.
type Runtime struct {
	Client runtimev1.RuntimeServiceClient
}

// ExecSync implements Exec.
func (r Runtime) ExecSync(ctx context.Context, containerID string, cmd []string, timeout time.Duration) ([]byte, int32, error) {
	res, err := r.Client.ExecSync(ctx, &runtimev1.ExecSyncRequest{ContainerId: containerID, Cmd: cmd, Timeout: int64(timeout / time.Second)})
	if err != nil {
		return nil, 0, err
	}
	return append(res.Stdout, res.Stderr...), res.ExitCode, nil
}
