package crifake

import (
	"context"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// stream is one subscription to events.
type stream struct {
	grpc.ServerStreamingClient[runtimev1.ContainerEventResponse]
	ctx    context.Context //nolint:containedctx // as in every gRPC stream
	events chan *runtimev1.ContainerEventResponse
}

// Recv implements the stream.
func (s *stream) Recv() (*runtimev1.ContainerEventResponse, error) {
	select {
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	case e, ok := <-s.events:
		if !ok {
			return nil, io.EOF
		}
		return e, nil
	}
}

// GetContainerEvents implements the runtime service.
func (r *Runtime) GetContainerEvents(ctx context.Context, _ *runtimev1.GetEventsRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[runtimev1.ContainerEventResponse], error) {
	s := &stream{ctx: ctx, events: make(chan *runtimev1.ContainerEventResponse, 10000)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers[s] = true
	return s, nil
}

// Disconnect breaks all event streams.
func (r *Runtime) Disconnect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.watchers {
		close(s.events)
		delete(r.watchers, s)
	}
}

// emit sends an event with a snapshot of the sandbox. The lock is held.
func (r *Runtime) emit(s *sandbox, id string, t runtimev1.ContainerEventType) {
	e := &runtimev1.ContainerEventResponse{ContainerId: id, ContainerEventType: t, CreatedAt: time.Now().UnixNano(), PodSandboxStatus: s.copy()}
	for _, c := range r.containers {
		if c.sandbox == s {
			e.ContainersStatuses = append(e.ContainersStatuses, c.copy())
		}
	}
	for w := range r.watchers {
		select {
		case w.events <- e:
		default: // a reader that is far behind loses events, as with a real runtime
		}
	}
}

// AddImage makes an image present. name is in full, such as
// docker.io/library/busybox:latest.
func (r *Runtime) AddImage(name string, change ...func(*runtimev1.Image)) {
	image := &runtimev1.Image{Id: "sha256:" + name, RepoTags: []string{name}, Size: 1000}
	for _, f := range change {
		f(image)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.images[name], r.images[image.Id] = image, image
}

// ImageStatus implements the image service.
func (r *Runtime) ImageStatus(_ context.Context, q *runtimev1.ImageStatusRequest, _ ...grpc.CallOption) (*runtimev1.ImageStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &runtimev1.ImageStatusResponse{Image: r.images[q.Image.Image]}, nil
}

// ListImages implements the image service.
func (r *Runtime) ListImages(context.Context, *runtimev1.ListImagesRequest, ...grpc.CallOption) (*runtimev1.ListImagesResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &runtimev1.ListImagesResponse{}
	for name, i := range r.images {
		if !strings.HasPrefix(name, "sha256:") {
			out.Images = append(out.Images, i)
		}
	}
	return out, nil
}

// PullImage implements the image service.
func (r *Runtime) PullImage(_ context.Context, q *runtimev1.PullImageRequest, _ ...grpc.CallOption) (*runtimev1.PullImageResponse, error) {
	if r.OnPull != nil {
		if err := r.OnPull(q.Image.Image, q.Auth); err != nil {
			return nil, status.Error(codes.Unknown, err.Error())
		}
	}
	r.AddImage(q.Image.Image)
	return &runtimev1.PullImageResponse{ImageRef: "sha256:" + q.Image.Image}, nil
}

// ImageFsInfo implements the image service.
func (r *Runtime) ImageFsInfo(context.Context, *runtimev1.ImageFsInfoRequest, ...grpc.CallOption) (*runtimev1.ImageFsInfoResponse, error) {
	return &runtimev1.ImageFsInfoResponse{}, nil
}

// CRI gives the runtime service alone, Images the image service.
func (r *Runtime) CRI() runtimev1.RuntimeServiceClient { return r }

// Images gives the image service.
func (r *Runtime) Images() runtimev1.ImageServiceClient { return r }
