package scheduler

import (
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

// The lease, and its times, as kube-scheduler has them by default.
const (
	leaseNamespace = metav1.NamespaceSystem
	leaseName      = "kube-scheduler"
	leaseDuration  = 15 * time.Second
	renewDeadline  = 10 * time.Second
	retryPeriod    = 2 * time.Second
)

// errLost is that another scheduler may have taken over, so that this one must
// decide nothing more.
var errLost = errors.New("the lease " + leaseNamespace + "/" + leaseName + " was lost")

// lead waits for the lease, runs while it is held, and gives it up at the end.
func lead(ctx context.Context, client kubernetes.Interface, run func(context.Context) error) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("naming this scheduler: %w", err)
	}
	electing, stop := context.WithCancel(ctx)
	defer stop()
	leading := make(chan context.Context, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: leaseNamespace, Name: leaseName},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
		},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod, ReleaseOnCancel: true,
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
