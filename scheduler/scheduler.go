package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/plugin"
	"coracle.dev/coracle/scheduler/queue"
	"coracle.dev/coracle/scheduler/snapshot"
)

// Profile is a way to schedule, that pods choose by its name.
type Profile struct {
	SchedulerName string
	// Plugins are the rules, in order.
	Plugins []framework.Plugin
	// NodesToScore is the percentage of nodes after which the search for fitting ones ends. 0 depends on the number
	// of nodes: all of up to 100, fewer of more.
	NodesToScore int
	// NeverPreempts leaves other pods alone.
	NeverPreempts bool
	// Candidates bounds the search for a preemption. The zero value is kube-scheduler's default.
	Candidates framework.Candidates
}

// Extender is a rule outside of the process, which may also bind pods.
type Extender struct {
	framework.Extender
	// Bind binds a pod, instead of the scheduler. Nil leaves that to it.
	Bind func(ctx context.Context, p *corev1.Pod, node string) error
}

// Options are the choices that a scheduler leaves open. The zero value is the scheduler of a usual cluster.
type Options struct {
	// SchedulerName is the name by which pods choose this scheduler, if Profiles is empty. Empty is
	// "default-scheduler".
	SchedulerName string
	// Profiles are the ways to schedule. Nil is one of SchedulerName with plugin.Default.
	Profiles []Profile
	// Extenders are asked after the plugins of whichever profile, with the lock held: the slower they are, the later
	// does the scheduler see what happens.
	Extenders []Extender
	// InitialBackoff and MaxBackoff bound the time after which a pod that could not be placed is tried again. 0 is 1 s
	// and 10 s.
	InitialBackoff, MaxBackoff time.Duration
	// BindTimeout is how long a pod may wait for its volumes to be bound before it is tried again. 0 is 10 minutes.
	BindTimeout time.Duration
	// LeaderElect makes it wait for the lease kube-system/kube-scheduler, for clusters with several servers.
	LeaderElect bool
	// Lease is what LeaderElect waits for. The zero value is kube-scheduler's.
	Lease Lease
	// Kubeconfig is the file that a configuration names for how to reach the API server. Run does not read it.
	Kubeconfig string
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
	if o.Profiles == nil {
		o.Profiles = []Profile{{SchedulerName: o.SchedulerName, Plugins: plugin.Default()}}
	}
	o.InitialBackoff = cmp.Or(o.InitialBackoff, queue.InitialBackoff)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, queue.MaxBackoff)
	o.BindTimeout = cmp.Or(o.BindTimeout, 10*time.Minute)
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
	profiles map[string]*profile // by scheduler name
	asked    []framework.Extender
	pods     cache.Store // that are not finished, as the watch shows them
	binders  errgroup.Group
	wake     chan struct{} // holds a token when the queue may have something to hand out

	mu      sync.Mutex // of what follows
	cluster *snapshot.Cluster
	queue   *queue.Queue
	start   int      // where the search for nodes goes on
	writes  []func() // what handlers want written; they must not wait for it themselves
	takers  map[types.UID]*taker
}

// profile is a Profile at work.
type profile struct {
	Profile
	recorder events.EventRecorder // speaks in the profile's name
}

// of is the profile that a pod has chosen.
func (s *scheduler) of(p *corev1.Pod) *profile { return s.profiles[p.Spec.SchedulerName] }

// Run schedules pods until ctx ends. It returns an error if it cannot begin, or has lost the lease.
func Run(ctx context.Context, cfg *rest.Config, o Options) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	run := func(ctx context.Context) error { return newScheduler(client, o).run(ctx) }
	if o.LeaderElect {
		return lead(ctx, client, o.Lease, run)
	}
	return run(ctx)
}

func (s *scheduler) run(ctx context.Context) error {
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: s.client.EventsV1()})
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return fmt.Errorf("recording events: %w", err)
	}
	defer broadcaster.Shutdown()
	for name, pr := range s.profiles {
		pr.recorder = broadcaster.NewRecorder(scheme.Scheme, name)
	}

	synced, stop, err := s.watch(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if !synced() {
		return nil // ctx ended first
	}
	klog.FromContext(ctx).Info("Scheduling", "profiles", slices.Sorted(maps.Keys(s.profiles)))
	s.loop(ctx)
	return s.binders.Wait()
}

func newScheduler(client kubernetes.Interface, o Options) *scheduler {
	s := &scheduler{
		Options: o.complete(), client: client, wake: make(chan struct{}, 1),
		cluster: snapshot.NewCluster(), profiles: map[string]*profile{}, takers: map[types.UID]*taker{},
	}
	s.queue = queue.New(s.InitialBackoff, s.MaxBackoff)
	for _, e := range s.Extenders {
		s.asked = append(s.asked, e.Extender)
	}
	for _, p := range s.Profiles {
		s.profiles[p.SchedulerName] = &profile{Profile: p}
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
	if late := s.late(ctx, now); late != nil {
		return late, next
	}
	item := s.queue.Pop(now)
	if item == nil {
		return nil, earliest(s.queue.Next(), s.nextLate())
	}
	return s.decide(ctx, item), next
}

// decide places a pod, with the lock held, and returns what is to be written.
func (s *scheduler) decide(ctx context.Context, item *queue.Item) func() {
	p := item.Pod.Pod
	pr := s.of(p)
	result := framework.Schedule(pr.Plugins, s.cluster, item.Pod, framework.Choice{Tie: s.Tie, Start: s.start, Percent: pr.NodesToScore, Extenders: s.asked})
	s.start += result.Looked
	if result.Err != nil {
		s.queue.Failed(item, s.Clock.Now())
		return func() { s.report(ctx, p, corev1.PodReasonSchedulerError, result.Err.Error(), nil) }
	}
	if result.Node == "" {
		return s.failed(ctx, item, result.Failure)
	}
	reservations, status := framework.Reserve(pr.Plugins, s.cluster, item.Pod, result.Node)
	if status != nil {
		s.queue.Failed(item, s.Clock.Now())
		return func() {
			s.report(ctx, p, corev1.PodReasonSchedulerError, strings.Join(status.Reasons, ", "), nil)
		}
	}
	s.cluster.Assume(item.Pod, result.Node)
	if len(reservations) == 0 {
		return func() { s.bind(ctx, item, result.Node) }
	}
	t := &taker{item: item, node: result.Node, reservations: reservations, due: s.Clock.Now().Add(s.BindTimeout)}
	s.takers[item.Pod.UID] = t
	return func() { s.settle(ctx, t) }
}

// earliest is the earlier of two times, of which a zero one is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
