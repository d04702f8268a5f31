package main

import (
	"context"
	"os"
	"path/filepath"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// service is upstream's task service with what is ours around it.
type service struct {
	taskapi.TTRPCTaskService
	// sandbox is set if we serve a pod of our own controller.
	sandbox bool
	// hostPID is set if the pod's containers may be in the host's process namespace.
	hostPID bool
	// bounding holds the names of the capabilities that a process may have here.
	bounding map[string]bool
}

func newService(s taskapi.TTRPCTaskService, sandbox bool) *service {
	return &service{TTRPCTaskService: s, sandbox: sandbox, hostPID: !sandbox || os.Getenv(hostPIDVariable) != "", bounding: boundingSet()}
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
	return s.TTRPCTaskService.Create(ctx, r)
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

// Shutdown is containerd's question, after each container, whether the shim can
// go. In a sandbox it is the controller who ends us.
func (s *service) Shutdown(ctx context.Context, r *taskapi.ShutdownRequest) (*emptypb.Empty, error) {
	if s.sandbox {
		return &emptypb.Empty{}, nil
	}
	return s.TTRPCTaskService.Shutdown(ctx, r)
}
