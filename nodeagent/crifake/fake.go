// Package crifake is a container runtime in memory, for tests and for
// simulated nodes.
//
// Contract: it keeps sandboxes, containers and images as a real runtime does
// and enforces the same rules (a name and attempt are used once, a container
// is made in a ready sandbox from an image that is there, only what has ended
// is removed), sends the same events, and writes real log files. What a
// container does is scripted by Behave. It runs no process.
package crifake

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Behaviour is what a container does.
type Behaviour struct {
	// ExitAfter ends the container by itself with ExitCode; 0 means never.
	ExitAfter time.Duration
	ExitCode  int32
	Reason    string
	// IgnoreTerm makes the container sit out its grace period.
	IgnoreTerm bool
	// Log is written to standard output at the start, line by line.
	Log string
	// Message is written to the termination message file at the end.
	Message string
	// StartError makes starting the container fail.
	StartError string
}

// Runtime is the fake. The zero value is not usable; see New.
type Runtime struct {
	runtimev1.RuntimeServiceClient // methods that are not implemented panic
	runtimev1.ImageServiceClient

	// Behave scripts containers; nil runs them for ever.
	Behave func(*runtimev1.ContainerConfig) Behaviour
	// OnExec answers ExecSync; nil succeeds with no output.
	OnExec func(container *runtimev1.ContainerConfig, cmd []string) (output string, code int32)
	// OnPull answers PullImage; nil succeeds.
	OnPull func(image string, auth *runtimev1.AuthConfig) error
	// SandboxError makes RunPodSandbox fail while it returns an error.
	SandboxError func() error

	mu         sync.Mutex // guards everything below
	next       int
	address    netip.Addr
	sandboxes  map[string]*sandbox
	containers map[string]*container
	images     map[string]*runtimev1.Image
	watchers   map[*stream]bool
	calls      []string
}

type sandbox struct {
	status *runtimev1.PodSandboxStatus
	config *runtimev1.PodSandboxConfig
}

type container struct {
	status *runtimev1.ContainerStatus
	config *runtimev1.ContainerConfig
	// resources are those of the config, or of the last update.
	resources *runtimev1.LinuxContainerResources
	sandbox   *sandbox
	does      Behaviour
	timer     *time.Timer
	ended     chan struct{}
}

// New makes an empty runtime.
func New() *Runtime {
	return &Runtime{
		address:   netip.MustParseAddr("10.250.0.1"),
		sandboxes: map[string]*sandbox{}, containers: map[string]*container{},
		images: map[string]*runtimev1.Image{}, watchers: map[*stream]bool{},
	}
}

// Calls lists the calls that changed something, with the names of what they
// were about, in order.
func (r *Runtime) Calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.calls...)
}

func (r *Runtime) called(what, name string) { r.calls = append(r.calls, what+" "+name) }

func (r *Runtime) id() string {
	r.next++
	return fmt.Sprintf("%064x", r.next)
}

func notFound(kind, id string) error {
	return status.Errorf(codes.NotFound, "%s %q: not found", kind, id)
}

// Version implements the runtime service.
func (r *Runtime) Version(context.Context, *runtimev1.VersionRequest, ...grpc.CallOption) (*runtimev1.VersionResponse, error) {
	return &runtimev1.VersionResponse{RuntimeName: "fake", RuntimeVersion: "1.0.0", RuntimeApiVersion: "v1"}, nil
}

// Status implements the runtime service.
func (r *Runtime) Status(context.Context, *runtimev1.StatusRequest, ...grpc.CallOption) (*runtimev1.StatusResponse, error) {
	return &runtimev1.StatusResponse{Status: &runtimev1.RuntimeStatus{Conditions: []*runtimev1.RuntimeCondition{
		{Type: "RuntimeReady", Status: true}, {Type: "NetworkReady", Status: true},
	}}}, nil
}

// RunPodSandbox implements the runtime service.
func (r *Runtime) RunPodSandbox(_ context.Context, q *runtimev1.RunPodSandboxRequest, _ ...grpc.CallOption) (*runtimev1.RunPodSandboxResponse, error) {
	if r.SandboxError != nil {
		if err := r.SandboxError(); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m := q.Config.Metadata
	for _, s := range r.sandboxes {
		o := s.config.Metadata
		if o.Uid == m.Uid && o.Attempt == m.Attempt {
			return nil, status.Errorf(codes.Unknown, "name %q attempt %d is reserved", m.Name, m.Attempt)
		}
	}
	r.called("run", m.Name)
	id := r.id()
	st := &runtimev1.PodSandboxStatus{
		Id: id, Metadata: m, State: runtimev1.PodSandboxState_SANDBOX_READY, CreatedAt: time.Now().UnixNano(),
		Labels: q.Config.Labels, Annotations: q.Config.Annotations,
		Linux: &runtimev1.LinuxPodSandboxStatus{Namespaces: &runtimev1.Namespace{Options: q.Config.GetLinux().GetSecurityContext().GetNamespaceOptions()}},
	}
	if st.GetLinux().GetNamespaces().GetOptions().GetNetwork() != runtimev1.NamespaceMode_NODE {
		r.address = r.address.Next()
		st.Network = &runtimev1.PodSandboxNetworkStatus{Ip: r.address.String()}
	}
	s := &sandbox{status: st, config: q.Config}
	r.sandboxes[id] = s
	r.emit(s, id, runtimev1.ContainerEventType_CONTAINER_STARTED_EVENT)
	return &runtimev1.RunPodSandboxResponse{PodSandboxId: id}, nil
}

// StopPodSandbox implements the runtime service.
func (r *Runtime) StopPodSandbox(_ context.Context, q *runtimev1.StopPodSandboxRequest, _ ...grpc.CallOption) (*runtimev1.StopPodSandboxResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[q.PodSandboxId]
	if s == nil {
		return nil, notFound("sandbox", q.PodSandboxId)
	}
	r.called("stop", s.config.Metadata.Name)
	r.endSandbox(s)
	return &runtimev1.StopPodSandboxResponse{}, nil
}

func (r *Runtime) endSandbox(s *sandbox) {
	for _, c := range r.containers {
		if c.sandbox == s {
			r.end(c, 137, "")
		}
	}
	if s.status.State == runtimev1.PodSandboxState_SANDBOX_READY {
		s.status.State, s.status.Network = runtimev1.PodSandboxState_SANDBOX_NOTREADY, nil
		r.emit(s, s.status.Id, runtimev1.ContainerEventType_CONTAINER_STOPPED_EVENT)
	}
}

// RemovePodSandbox implements the runtime service.
func (r *Runtime) RemovePodSandbox(_ context.Context, q *runtimev1.RemovePodSandboxRequest, _ ...grpc.CallOption) (*runtimev1.RemovePodSandboxResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[q.PodSandboxId]
	if s == nil {
		return &runtimev1.RemovePodSandboxResponse{}, nil
	}
	r.called("remove", s.config.Metadata.Name)
	r.endSandbox(s)
	for id, c := range r.containers {
		if c.sandbox == s {
			delete(r.containers, id)
		}
	}
	delete(r.sandboxes, q.PodSandboxId)
	r.emit(s, q.PodSandboxId, runtimev1.ContainerEventType_CONTAINER_DELETED_EVENT)
	return &runtimev1.RemovePodSandboxResponse{}, nil
}

// PodSandboxStatus implements the runtime service.
func (r *Runtime) PodSandboxStatus(_ context.Context, q *runtimev1.PodSandboxStatusRequest, _ ...grpc.CallOption) (*runtimev1.PodSandboxStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[q.PodSandboxId]
	if s == nil {
		return nil, notFound("sandbox", q.PodSandboxId)
	}
	return &runtimev1.PodSandboxStatusResponse{Status: s.copy()}, nil
}

func (s *sandbox) copy() *runtimev1.PodSandboxStatus {
	return &runtimev1.PodSandboxStatus{
		Id: s.status.Id, Metadata: s.status.Metadata, State: s.status.State, CreatedAt: s.status.CreatedAt,
		Network: s.status.Network, Linux: s.status.Linux, Labels: s.status.Labels, Annotations: s.status.Annotations,
	}
}

func matches(labels, selector map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// ListPodSandbox implements the runtime service.
func (r *Runtime) ListPodSandbox(_ context.Context, q *runtimev1.ListPodSandboxRequest, _ ...grpc.CallOption) (*runtimev1.ListPodSandboxResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &runtimev1.ListPodSandboxResponse{}
	for _, s := range r.sandboxes {
		if matches(s.status.Labels, q.GetFilter().GetLabelSelector()) {
			out.Items = append(out.Items, &runtimev1.PodSandbox{Id: s.status.Id, Metadata: s.status.Metadata, State: s.status.State, CreatedAt: s.status.CreatedAt, Labels: s.status.Labels})
		}
	}
	return out, nil
}

// CreateContainer implements the runtime service.
func (r *Runtime) CreateContainer(_ context.Context, q *runtimev1.CreateContainerRequest, _ ...grpc.CallOption) (*runtimev1.CreateContainerResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[q.PodSandboxId]
	if s == nil || s.status.State != runtimev1.PodSandboxState_SANDBOX_READY {
		return nil, notFound("sandbox", q.PodSandboxId)
	}
	image := r.images[q.Config.Image.Image]
	if image == nil {
		return nil, notFound("image", q.Config.Image.Image)
	}
	m := q.Config.Metadata
	for _, c := range r.containers {
		if c.sandbox == s && c.config.Metadata.Name == m.Name && c.config.Metadata.Attempt == m.Attempt {
			return nil, status.Errorf(codes.Unknown, "name %q attempt %d is reserved", m.Name, m.Attempt)
		}
	}
	r.called("create", m.Name)
	id := r.id()
	c := &container{config: q.Config, resources: q.Config.GetLinux().GetResources(), sandbox: s, ended: make(chan struct{}), status: &runtimev1.ContainerStatus{
		Id: id, Metadata: m, State: runtimev1.ContainerState_CONTAINER_CREATED, CreatedAt: time.Now().UnixNano(),
		Image: &runtimev1.ImageSpec{Image: image.RepoTags[0]}, ImageRef: image.Id, ImageId: image.Id,
		Labels: q.Config.Labels, Annotations: q.Config.Annotations, Mounts: q.Config.Mounts,
		LogPath: filepath.Join(s.config.LogDirectory, q.Config.LogPath),
	}}
	r.containers[id] = c
	r.emit(s, id, runtimev1.ContainerEventType_CONTAINER_CREATED_EVENT)
	return &runtimev1.CreateContainerResponse{ContainerId: id}, nil
}

// StartContainer implements the runtime service.
func (r *Runtime) StartContainer(_ context.Context, q *runtimev1.StartContainerRequest, _ ...grpc.CallOption) (*runtimev1.StartContainerResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[q.ContainerId]
	if c == nil {
		return nil, notFound("container", q.ContainerId)
	}
	if c.status.State != runtimev1.ContainerState_CONTAINER_CREATED {
		return nil, status.Errorf(codes.FailedPrecondition, "container is in state %s", c.status.State)
	}
	if r.Behave != nil {
		c.does = r.Behave(c.config)
	}
	r.called("start", c.config.Metadata.Name)
	if c.does.StartError != "" {
		r.end(c, 128, "StartError")
		return nil, status.Error(codes.Unknown, c.does.StartError)
	}
	c.status.State, c.status.StartedAt = runtimev1.ContainerState_CONTAINER_RUNNING, time.Now().UnixNano()
	if err := c.writeLog(); err != nil {
		return nil, err
	}
	if c.does.ExitAfter > 0 {
		c.timer = time.AfterFunc(c.does.ExitAfter, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.end(c, c.does.ExitCode, c.does.Reason)
		})
	}
	r.emit(c.sandbox, c.status.Id, runtimev1.ContainerEventType_CONTAINER_STARTED_EVENT)
	return &runtimev1.StartContainerResponse{}, nil
}

func (c *container) writeLog() error {
	if c.sandbox.config.LogDirectory == "" {
		return nil
	}
	var b strings.Builder
	for line := range strings.Lines(c.does.Log) {
		fmt.Fprintf(&b, "%s stdout F %s\n", time.Now().Format(time.RFC3339Nano), strings.TrimSuffix(line, "\n"))
	}
	return os.WriteFile(c.status.LogPath, []byte(b.String()), 0o640)
}

// end takes a container to its end. The lock is held.
func (r *Runtime) end(c *container, code int32, reason string) {
	if c.status.State == runtimev1.ContainerState_CONTAINER_EXITED {
		return
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	if path := c.config.Annotations["io.kubernetes.container.terminationMessagePath"]; c.does.Message != "" && path != "" {
		for _, m := range c.config.Mounts {
			if m.ContainerPath == path {
				_ = os.WriteFile(m.HostPath, []byte(c.does.Message), 0o666)
			}
		}
	}
	c.status.State, c.status.FinishedAt, c.status.ExitCode, c.status.Reason = runtimev1.ContainerState_CONTAINER_EXITED, time.Now().UnixNano(), code, reason
	close(c.ended)
	r.emit(c.sandbox, c.status.Id, runtimev1.ContainerEventType_CONTAINER_STOPPED_EVENT)
}

// Exit ends the running container of this name, wherever it is.
func (r *Runtime) Exit(name string, code int32, reason string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if c.config.Metadata.Name == name && c.status.State == runtimev1.ContainerState_CONTAINER_RUNNING {
			r.end(c, code, reason)
			return true
		}
	}
	return false
}

// LoseSandboxes ends every sandbox and its containers, as a reboot does.
func (r *Runtime) LoseSandboxes() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sandboxes {
		r.endSandbox(s)
	}
}

// StopContainer implements the runtime service.
func (r *Runtime) StopContainer(ctx context.Context, q *runtimev1.StopContainerRequest, _ ...grpc.CallOption) (*runtimev1.StopContainerResponse, error) {
	r.mu.Lock()
	c := r.containers[q.ContainerId]
	if c == nil {
		r.mu.Unlock()
		return nil, notFound("container", q.ContainerId)
	}
	r.called("stop", c.config.Metadata.Name)
	if !c.does.IgnoreTerm {
		r.end(c, 143, "")
		r.mu.Unlock()
		return &runtimev1.StopContainerResponse{}, nil
	}
	r.mu.Unlock()
	select {
	case <-time.After(time.Duration(q.Timeout) * time.Second):
		r.mu.Lock()
		defer r.mu.Unlock()
		r.end(c, 137, "")
		return &runtimev1.StopContainerResponse{}, nil
	case <-c.ended:
		return &runtimev1.StopContainerResponse{}, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// RemoveContainer implements the runtime service.
func (r *Runtime) RemoveContainer(_ context.Context, q *runtimev1.RemoveContainerRequest, _ ...grpc.CallOption) (*runtimev1.RemoveContainerResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[q.ContainerId]
	if c == nil {
		return &runtimev1.RemoveContainerResponse{}, nil
	}
	r.called("remove", c.config.Metadata.Name)
	r.end(c, 137, "")
	delete(r.containers, q.ContainerId)
	r.emit(c.sandbox, q.ContainerId, runtimev1.ContainerEventType_CONTAINER_DELETED_EVENT)
	return &runtimev1.RemoveContainerResponse{}, nil
}

// ListContainers implements the runtime service.
func (r *Runtime) ListContainers(_ context.Context, q *runtimev1.ListContainersRequest, _ ...grpc.CallOption) (*runtimev1.ListContainersResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &runtimev1.ListContainersResponse{}
	for _, c := range r.containers {
		if matches(c.status.Labels, q.GetFilter().GetLabelSelector()) {
			out.Containers = append(out.Containers, &runtimev1.Container{
				Id: c.status.Id, PodSandboxId: c.sandbox.status.Id, Metadata: c.status.Metadata, State: c.status.State,
				CreatedAt: c.status.CreatedAt, Labels: c.status.Labels, Annotations: c.status.Annotations,
			})
		}
	}
	return out, nil
}

// ContainerStatus implements the runtime service.
func (r *Runtime) ContainerStatus(_ context.Context, q *runtimev1.ContainerStatusRequest, _ ...grpc.CallOption) (*runtimev1.ContainerStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[q.ContainerId]
	if c == nil {
		return nil, notFound("container", q.ContainerId)
	}
	return &runtimev1.ContainerStatusResponse{Status: c.copy()}, nil
}

func (c *container) copy() *runtimev1.ContainerStatus {
	s := c.status
	return &runtimev1.ContainerStatus{
		Id: s.Id, Metadata: s.Metadata, State: s.State, CreatedAt: s.CreatedAt, StartedAt: s.StartedAt, FinishedAt: s.FinishedAt,
		ExitCode: s.ExitCode, Image: s.Image, ImageRef: s.ImageRef, ImageId: s.ImageId, Reason: s.Reason, Message: s.Message,
		Labels: s.Labels, Annotations: s.Annotations, Mounts: s.Mounts, LogPath: s.LogPath,
		Resources: &runtimev1.ContainerResources{Linux: c.resources},
	}
}

// UpdateContainerResources implements the runtime service.
func (r *Runtime) UpdateContainerResources(_ context.Context, q *runtimev1.UpdateContainerResourcesRequest, _ ...grpc.CallOption) (*runtimev1.UpdateContainerResourcesResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[q.ContainerId]
	if c == nil {
		return nil, notFound("container", q.ContainerId)
	}
	r.called("update", c.config.Metadata.Name)
	c.resources = q.Linux
	return &runtimev1.UpdateContainerResourcesResponse{}, nil
}

// ExecSync implements the runtime service.
func (r *Runtime) ExecSync(_ context.Context, q *runtimev1.ExecSyncRequest, _ ...grpc.CallOption) (*runtimev1.ExecSyncResponse, error) {
	r.mu.Lock()
	c := r.containers[q.ContainerId]
	r.mu.Unlock()
	if c == nil {
		return nil, notFound("container", q.ContainerId)
	}
	if r.OnExec == nil {
		return &runtimev1.ExecSyncResponse{}, nil
	}
	output, code := r.OnExec(c.config, q.Cmd)
	return &runtimev1.ExecSyncResponse{Stdout: []byte(output), ExitCode: code}, nil
}

// ReopenContainerLog implements the runtime service.
func (r *Runtime) ReopenContainerLog(_ context.Context, q *runtimev1.ReopenContainerLogRequest, _ ...grpc.CallOption) (*runtimev1.ReopenContainerLogResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[q.ContainerId]
	if c == nil {
		return nil, notFound("container", q.ContainerId)
	}
	return &runtimev1.ReopenContainerLogResponse{}, os.WriteFile(c.status.LogPath, nil, 0o640)
}

// ListContainerStats implements the runtime service.
func (r *Runtime) ListContainerStats(context.Context, *runtimev1.ListContainerStatsRequest, ...grpc.CallOption) (*runtimev1.ListContainerStatsResponse, error) {
	return &runtimev1.ListContainerStatsResponse{}, nil
}

// PodSandboxStats implements the runtime service.
func (r *Runtime) PodSandboxStats(context.Context, *runtimev1.PodSandboxStatsRequest, ...grpc.CallOption) (*runtimev1.PodSandboxStatsResponse, error) {
	return nil, status.Error(codes.Unimplemented, "the fake measures nothing")
}

// Sandbox is the configuration of the newest ready sandbox of a pod.
func (r *Runtime) Sandbox(pod string) *runtimev1.PodSandboxConfig {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sandboxes {
		if s.config.Metadata.Name == pod && s.status.State == runtimev1.PodSandboxState_SANDBOX_READY {
			return s.config
		}
	}
	return nil
}

// Container is the configuration of the running container of this name.
func (r *Runtime) Container(name string) *runtimev1.ContainerConfig {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if c.config.Metadata.Name == name && c.status.State == runtimev1.ContainerState_CONTAINER_RUNNING {
			return c.config
		}
	}
	return nil
}
