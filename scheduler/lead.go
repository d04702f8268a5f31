package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Lease names a lease, and its times.
type Lease struct {
	Namespace, Name                      string
	Duration, RenewDeadline, RetryPeriod time.Duration
}

// complete fills in what kube-scheduler has by default.
func (l Lease) complete() Lease {
	l.Namespace, l.Name = cmp.Or(l.Namespace, metav1.NamespaceSystem), cmp.Or(l.Name, "kube-scheduler")
	l.Duration = cmp.Or(l.Duration, 15*time.Second)
	l.RenewDeadline = cmp.Or(l.RenewDeadline, 10*time.Second)
	l.RetryPeriod = cmp.Or(l.RetryPeriod, 2*time.Second)
	return l
}

// errLost is that another scheduler may have taken over, so that this one must
// decide nothing more.
var errLost = errors.New("the lease was lost")

// lead waits for the lease, runs while it is held, and gives it up at the end.
func lead(ctx context.Context, client kubernetes.Interface, lease Lease, run func(context.Context) error) error {
	lease = lease.complete()
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("naming this scheduler: %w", err)
	}
	electing, stop := context.WithCancel(ctx)
	defer stop()
	leading := make(chan context.Context, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: lease.Namespace, Name: lease.Name},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
		},
		LeaseDuration: lease.Duration, RenewDeadline: lease.RenewDeadline, RetryPeriod: lease.RetryPeriod, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { leading <- ctx },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("electing a leader: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		elector.Run(electing)
	}()
	select {
	case <-done:
		return nil // ctx ended first
	case held := <-leading:
		err = run(held)
		lost := held.Err() != nil && ctx.Err() == nil
		stop()
		<-done
		if lost {
			return errors.Join(errLost, err)
		}
		return err
	}
}
