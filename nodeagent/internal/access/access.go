// Package access waits until the API server serves us.
//
// A client-go reflector that is refused waits for most of a second before it
// asks again. Right after a start the server may refuse for a few milliseconds,
// while it has not yet read who may do what; to ask once in a small way, until
// it works, makes the informers that follow start at once.
package access

import (
	"context"
	"time"

	"k8s.io/klog/v2"
)

const (
	firstPause = 10 * time.Millisecond
	lastPause  = time.Second
)

// Wait calls try until it succeeds or ctx ends, and tells which.
func Wait(ctx context.Context, try func(context.Context) error) bool {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := try(ctx)
		if err == nil {
			return true
		}
		klog.FromContext(ctx).V(4).Info("Waiting for the API server", "reason", err.Error())
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}
