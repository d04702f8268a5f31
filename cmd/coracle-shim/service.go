package main

import (
	"context"
	"os"
	"path/filepath"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// service is upstream's task service with what is ours around it.
type service struct {
	taskapi.TTRPCTaskService
	outputs *outputs
	// sandbox is set if we serve a pod of our own controller.
	sandbox bool
	// hostPID is set if the pod's containers may be in the host's process namespace.
	hostPID bool
	// bounding holds the names of the capabilities that a process may have here.
	bounding map[string]bool
}

func newService(s taskapi.TTRPCTaskService, o *outputs, sandbox bool) *service {
	return &service{TTRPCTaskService: s, outputs: o, sandbox: sandbox, hostPID: !sandbox || os.Getenv(hostPIDVariable) != "", bounding: boundingSet()}
}

func (s *service) RegisterTTRPC(server *ttrpc.Server) error {
	taskapi.RegisterTTRPCTaskService(server, s)
	return nil
}

// Create adapts the container's specification before runc reads it.
func (s *service) Create(ctx context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	if err := s.adaptFile(filepath.Join(r.Bundle, "config.json")); err != nil {
		return nil, err
	}
	s.outputs.hold(r.ID, r.Stdout, r.Stderr)
	created, err := s.TTRPCTaskService.Create(ctx, r)
	if err != nil {
		s.outputs.drop(r.ID)
	}
	return created, err
}

// Delete removes a container or a process that was executed in one.
func (s *service) Delete(ctx context.Context, r *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
	if r.ExecID == "" {
		s.outputs.drop(r.ID)
	}
	return s.TTRPCTaskService.Delete(ctx, r)
}

// Exec adapts the process's specification.
func (s *service) Exec(ctx context.Context, r *taskapi.ExecProcessRequest) (*emptypb.Empty, error) {
	if r.Spec != nil {
		adapted, err := s.adaptProcess(r.Spec.Value)
		if err != nil {
			return nil, err
		}
		r.Spec.Value = adapted
	}
	return s.TTRPCTaskService.Exec(ctx, r)
}

// Pids lists the processes of a container. For one that has ended and was not
// deleted it names the process that it had: containerd takes a container without
// any for one that was never made, when it takes up shims at its start, and deletes
// it together with its exit code (2.4, shouldCleanupShim).
func (s *service) Pids(ctx context.Context, r *taskapi.PidsRequest) (*taskapi.PidsResponse, error) {
	pids, err := s.TTRPCTaskService.Pids(ctx, r)
	if err == nil && len(pids.Processes) > 0 {
		return pids, nil
	}
	state, stateErr := s.TTRPCTaskService.State(ctx, &taskapi.StateRequest{ID: r.ID})
	if stateErr != nil || state.Status != tasktypes.Status_STOPPED {
		return pids, err
	}
	return &taskapi.PidsResponse{Processes: []*tasktypes.ProcessInfo{{Pid: state.Pid}}}, nil
}

// Shutdown is containerd's question, after each container, whether the shim can
// go. In a sandbox it is the controller who ends us.
func (s *service) Shutdown(ctx context.Context, r *taskapi.ShutdownRequest) (*emptypb.Empty, error) {
	if s.sandbox {
		return &emptypb.Empty{}, nil
	}
	return s.TTRPCTaskService.Shutdown(ctx, r)
}
