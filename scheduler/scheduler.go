package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/plugin"
	"coracle.dev/coracle/scheduler/queue"
	"coracle.dev/coracle/scheduler/snapshot"
)

// Options are the choices that a scheduler leaves open. The zero value is the scheduler of a usual cluster.
type Options struct {
	// SchedulerName is the name by which pods choose this scheduler. Empty is "default-scheduler".
	SchedulerName string
	// LeaderElect makes it wait for the lease kube-system/kube-scheduler, for clusters with several servers.
	LeaderElect bool
	// Plugins are the rules, in order. Nil is plugin.Default.
	Plugins []framework.Plugin
	// Binders is how many bindings are written at once. 0 is 64.
	Binders int
	// Clock tells the time. Nil is the machine's.
	Clock clock.Clock
	// Tie picks one of n equally good nodes. Nil picks at random.
	Tie func(n int) int
}

func (o Options) complete() Options {
	if o.SchedulerName == "" {
		o.SchedulerName = corev1.DefaultSchedulerName
	}
	if o.Plugins == nil {
		o.Plugins = plugin.Default()
	}
	if o.Binders == 0 {
		o.Binders = 64
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Tie == nil {
		o.Tie = rand.IntN
	}
	return o
}

// scheduler is a running scheduler.
type scheduler struct {
	Options
	client   kubernetes.Interface
	recorder events.EventRecorder
	binders  errgroup.Group
	wake     chan struct{} // holds a token when the queue may have something to hand out

	mu      sync.Mutex // of what follows
	cluster *snapshot.Cluster
	queue   *queue.Queue
	start   int      // where the search for nodes goes on
	writes  []func() // what handlers want written; they must not wait for it themselves
}

// Run schedules pods until ctx ends. It returns an error if it cannot begin, or has lost the lease.
func Run(ctx context.Context, cfg *rest.Config, o Options) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	run := func(ctx context.Context) error { return newScheduler(client, o).run(ctx) }
	if o.LeaderElect {
		return lead(ctx, client, run)
	}
	return run(ctx)
}

func (s *scheduler) run(ctx context.Context) error {
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: s.client.EventsV1()})
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return fmt.Errorf("recording events: %w", err)
	}
	defer broadcaster.Shutdown()
	s.recorder = broadcaster.NewRecorder(scheme.Scheme, s.SchedulerName)

	synced, stop, err := s.watch(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if !synced() {
		return nil // ctx ended first
	}
	klog.FromContext(ctx).Info("Scheduling", "schedulerName", s.SchedulerName)
	s.loop(ctx)
	return s.binders.Wait()
}

func newScheduler(client kubernetes.Interface, o Options) *scheduler {
	s := &scheduler{
		Options: o.complete(), client: client, wake: make(chan struct{}, 1),
		cluster: snapshot.NewCluster(), queue: queue.New(),
	}
	s.binders.SetLimit(s.Binders)
	return s
}

// signal tells the loop to look at the queue. Call it after changing the queue, with or without the lock.
func (s *scheduler) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// loop decides on pods, one after another, and sleeps while there is none.
func (s *scheduler) loop(ctx context.Context) {
	for ctx.Err() == nil {
		after, next := s.scheduleOne(ctx)
		if after != nil {
			s.binders.Go(func() error { after(); return nil }) // blocks while all binders are busy
			continue
		}
		s.sleep(ctx, next)
	}
}

func (s *scheduler) sleep(ctx context.Context, until time.Time) {
	var due <-chan time.Time
	if !until.IsZero() {
		timer := s.Clock.NewTimer(until.Sub(s.Clock.Now()))
		defer timer.Stop()
		due = timer.C()
	}
	select {
	case <-ctx.Done():
	case <-s.wake:
	case <-due:
	}
}

// scheduleOne decides on the next pod. It returns what is to be written, to be called without the lock; or if no pod
// waits, nil and when one will.
func (s *scheduler) scheduleOne(ctx context.Context) (after func(), next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.writes) > 0 {
		after, s.writes = s.writes[0], s.writes[1:]
		return after, next
	}
	now := s.Clock.Now()
	s.queue.Flush(now)
	item := s.queue.Pop(now)
	if item == nil {
		return nil, s.queue.Next()
	}
	result := framework.Schedule(s.Plugins, s.cluster, item.Pod, framework.Choice{Tie: s.Tie, Start: s.start})
	s.start += result.Looked
	if result.Node != "" {
		s.cluster.Assume(item.Pod, result.Node)
		return func() { s.bind(ctx, item, result.Node) }, next
	}
	return s.failed(ctx, item, result.Failure), next
}
