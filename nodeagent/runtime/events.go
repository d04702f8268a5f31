package runtime

import (
	"context"
	"fmt"
	"time"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
)

// Events calls handle for each event of a container or sandbox until ctx ends. If
// the stream breaks, as when containerd is restarted, it is opened again, and
// resync is called whenever it has been opened: events that came before are lost.
// Both are called from this goroutine, and should not block for long.
func (r *Runtime) Events(ctx context.Context, resync func(), handle func(*runtimev1.ContainerEventResponse)) {
	wait := firstRetry
	for ctx.Err() == nil {
		began := time.Now()
		err := r.stream(ctx, resync, handle)
		if ctx.Err() != nil {
			return
		}
		klog.FromContext(ctx).V(2).Info("Event stream of the container runtime broke", "err", err)
		if time.Since(began) > time.Second {
			wait = firstRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		wait = min(wait*2, time.Second)
	}
}

func (r *Runtime) stream(ctx context.Context, resync func(), handle func(*runtimev1.ContainerEventResponse)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := r.CRI().GetContainerEvents(ctx, &runtimev1.GetEventsRequest{})
	if err != nil {
		return fmt.Errorf("opening the event stream: %w", err)
	}
	// A stream exists only once the server has answered; before, it may still be
	// for a server that is about to go.
	if _, err := r.CRI().Version(ctx, &runtimev1.VersionRequest{}); err != nil {
		return fmt.Errorf("opening the event stream: %w", err)
	}
	resync()
	for {
		event, err := events.Recv()
		if err != nil {
			return fmt.Errorf("receiving events: %w", err)
		}
		handle(event)
	}
}
