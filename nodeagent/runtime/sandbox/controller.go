package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/platforms"
	"github.com/containerd/typeurl/v2"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// shimVersion is the version of the shim protocol: from 3 on, containerd asks the
// shim at the address that we name rather than starting one per container.
const shimVersion = 3

// killedStatus is the exit status of what was killed.
const killedStatus = 137

// Controller implements containerd's sandbox.Controller.
type Controller struct {
	config                    Config
	root, state               string
	criRoot, criState         string
	grpcAddress, ttrpcAddress string

	mu sync.Mutex
	// created holds what Create was told, until Start.
	created map[string]*request
	// sandboxes are those that have been started, dead or alive.
	sandboxes map[string]*instance
}

// request is what a sandbox is to be.
type request struct {
	id     string
	config *runtimev1.PodSandboxConfig
	netns  string
}

var _ sandbox.Controller = (*Controller)(nil)

// Supported tells whether the controller can make a pod with these namespaces.
// One with a user namespace needs more set up than it does. In a shared process
// namespace the holder would be visible to containers, from where its root
// directory, the host's, could be reached. Both are the zero values of their
// fields, so that who says nothing gets a shared process namespace.
func Supported(o *runtimev1.NamespaceOption) bool {
	users := o.GetUsernsOptions()
	return o.GetPid() != runtimev1.NamespaceMode_POD && (users == nil || users.GetMode() != runtimev1.NamespaceMode_POD)
}

// Create takes note of what is asked for.
func (c *Controller) Create(_ context.Context, info sandbox.Sandbox, opts ...sandbox.CreateOpt) error {
	var options sandbox.CreateOptions
	for _, set := range opts {
		if err := set(&options); err != nil {
			return err
		}
	}
	config := &runtimev1.PodSandboxConfig{}
	if err := typeurl.UnmarshalTo(options.Options, config); err != nil {
		return fmt.Errorf("decoding the configuration of sandbox %s: %w", info.ID, err)
	}
	if !Supported(config.GetLinux().GetSecurityContext().GetNamespaceOptions()) {
		return fmt.Errorf("a pod with a user namespace or a shared process namespace needs the runtime handler of the stock sandbox controller: %w", errdefs.ErrInvalidArgument)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.created == nil {
		c.created = map[string]*request{}
	}
	if c.created[info.ID] != nil || c.sandboxes[info.ID] != nil {
		return fmt.Errorf("sandbox %s: %w", info.ID, errdefs.ErrAlreadyExists)
	}
	c.created[info.ID] = &request{id: info.ID, config: config, netns: options.NetNSPath}
	return nil
}

// Start makes the sandbox's files and processes.
func (c *Controller) Start(ctx context.Context, id string) (sandbox.ControllerInstance, error) {
	c.mu.Lock()
	r := c.created[id]
	delete(c.created, id)
	c.mu.Unlock()
	if r == nil {
		return sandbox.ControllerInstance{}, fmt.Errorf("sandbox %s: %w", id, errdefs.ErrNotFound)
	}
	s, err := c.launch(ctx, r)
	if err != nil {
		return sandbox.ControllerInstance{}, err
	}
	c.mu.Lock()
	c.sandboxes[id] = s
	c.mu.Unlock()
	return sandbox.ControllerInstance{
		SandboxID: id,
		Pid:       uint32(s.holder.PID),
		CreatedAt: s.created,
		Address:   s.address(),
		Version:   shimVersion,
		Labels:    map[string]string{"oci_runtime_type": "io.containerd.runc.v2"},
	}, nil
}

func (s *instance) address() string { return "ttrpc+unix://" + s.socket }

func (c *Controller) get(id string) (*instance, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sandboxes[id]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("sandbox %s: %w", id, errdefs.ErrNotFound)
}

// Platform is the host's.
func (c *Controller) Platform(context.Context, string) (imagespec.Platform, error) {
	return platforms.DefaultSpec(), nil
}

// Stop ends both processes, at once: neither has anything to say goodbye to, and
// the CRI plugin has stopped the containers before.
func (c *Controller) Stop(ctx context.Context, id string, _ ...sandbox.StopOpt) error {
	s, err := c.get(id)
	if err != nil {
		return err
	}
	return c.stop(ctx, s)
}

// Wait returns when the sandbox has ended.
func (c *Controller) Wait(ctx context.Context, id string) (sandbox.ExitStatus, error) {
	s, err := c.get(id)
	if err != nil {
		return sandbox.ExitStatus{}, err
	}
	select {
	case <-s.ended:
		return sandbox.ExitStatus{ExitStatus: killedStatus, ExitedAt: s.holder.Ended()}, nil
	case <-ctx.Done():
		return sandbox.ExitStatus{}, ctx.Err()
	}
}

// Status tells the CRI plugin how the sandbox is.
func (c *Controller) Status(_ context.Context, id string, verbose bool) (sandbox.ControllerStatus, error) {
	s, err := c.get(id)
	if err != nil {
		return sandbox.ControllerStatus{}, err
	}
	status := sandbox.ControllerStatus{
		SandboxID: id,
		Pid:       uint32(s.holder.PID),
		State:     runtimev1.PodSandboxState_SANDBOX_READY.String(),
		CreatedAt: s.created,
		Address:   s.address(),
		Version:   shimVersion,
	}
	if !s.ready() {
		status.State = runtimev1.PodSandboxState_SANDBOX_NOTREADY.String()
		status.ExitedAt = time.Now()
		if !s.holder.Alive() {
			status.ExitedAt = s.holder.Ended()
		}
	}
	if verbose {
		info, err := json.Marshal(map[string]any{"pid": s.holder.PID, "processStatus": status.State, "shimPid": s.shim.PID})
		if err != nil {
			return sandbox.ControllerStatus{}, err
		}
		status.Info = map[string]string{"info": string(info)}
	}
	return status, nil
}

// Shutdown removes all that there is of the sandbox. It may be called twice.
func (c *Controller) Shutdown(ctx context.Context, id string) error {
	s, err := c.get(id)
	if err != nil {
		c.mu.Lock()
		delete(c.created, id)
		c.mu.Unlock()
		return nil
	}
	if err := c.destroy(ctx, s); err != nil {
		return err
	}
	c.mu.Lock()
	delete(c.sandboxes, id)
	c.mu.Unlock()
	log.G(ctx).WithField("sandbox", id).Debug("removed sandbox")
	return nil
}

// Metrics of the pod come from its cgroup, which the CRI plugin reads by itself.
func (c *Controller) Metrics(context.Context, string) (*types.Metric, error) {
	return &types.Metric{}, nil
}

// Update changes records that are the CRI plugin's alone.
func (c *Controller) Update(context.Context, string, sandbox.Sandbox, ...string) error { return nil }
