// Command coracle-shim stands between containerd and runc: one runs per pod, is
// the parent of the pod's containers and outlives containerd. It is upstream's
// runc shim with some differences.
//
// First, only the task service is linked, so that it starts fast and stays small.
//
// Second, the sandbox controller may start it directly as the shim of a whole
// pod (environment variable CORACLE_SANDBOX), in which case it does not leave
// with the pod's last container, since a pod may go on without one. It waits for
// one byte on file 4 first, which says that the controller has written down that
// we exist; if the file ends instead, nobody knows of us and we leave.
//
// Third, it adapts the containers' specifications to what this host can do, and
// keeps a container's last output for a containerd that is away when it ends.
//
// It is a program of its own since it executes itself again, and since a Go
// program of the main binary's size takes too long to start for each pod.
package main

import (
	"context"
	"os"

	upstream "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

// sandboxVariable is set in a shim that belongs to a sandbox of our controller.
const sandboxVariable = "CORACLE_SANDBOX"

// hostPIDVariable is set in addition if the pod asked for the host's processes.
const hostPIDVariable = "CORACLE_HOST_PID"

// permissionFile is where the controller's byte arrives; 3 is the socket.
const permissionFile = 4

func main() {
	sandbox := os.Getenv(sandboxVariable) != ""
	if sandbox && !permitted() {
		return
	}
	registry.Reset()
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			events, err := ic.GetByID(plugins.EventPlugin, "publisher")
			if err != nil {
				return nil, err
			}
			stop, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
			if err != nil {
				return nil, err
			}
			outputs := newOutputs(os.Getenv("TTRPC_ADDRESS"))
			service, err := task.NewTaskService(ic.Context, publisher{events.(shim.Publisher), outputs}, stop.(shutdown.Service))
			if err != nil {
				return nil, err
			}
			return newService(service, outputs, sandbox), nil
		},
	})
	shim.RunShim(context.Background(), manager{upstream.NewShimManager("io.containerd.runc.v2")}, func(c *shim.Config) {
		// Nobody reads a log pipe of ours: standard error is containerd's log.
		c.NoSetupLogger = sandbox
	})
}

func permitted() bool {
	file := os.NewFile(permissionFile, "permission")
	defer file.Close()
	var b [1]byte
	n, _ := file.Read(b[:])
	return n == 1
}
