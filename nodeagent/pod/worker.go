package pod

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/nodeagent/lifecycle"
	"coracle.dev/coracle/nodeagent/spec"
)

// worker runs one pod. All fields below the mailbox belong to its goroutine.
type worker struct {
	m    *Manager
	view atomic.Pointer[View]

	mu      sync.Mutex // guards mailbox
	mailbox []func()
	wake    chan struct{}

	ctx      context.Context //nolint:containedctx // operations started from the mailbox end with the worker
	pod      *corev1.Pod
	obs      lifecycle.Observed
	writer   *writer
	known    bool // the runtime has been asked about this pod
	admitted bool
	tracked  bool // the objects that it refers to are being watched
	// settled: the pod had ended before this process first saw it, so that
	// its status is complete and its containers' messages may be gone.
	settled bool
	// removed: the API server has the pod no longer. orphan: it never had it
	// in the life of this process.
	removed, orphan bool
	termination     *lifecycle.Termination
	deleted         bool // the API object was asked to be deleted for good
	// over: all of the pod has ended and its volumes are gone.
	over bool

	launching    context.CancelFunc
	launchAfter  time.Time
	launchDelay  time.Duration
	volumesReady bool
	refreshing   bool
	refreshAgain bool
	volumes      map[string]string
	kills        map[string]*kill
	finishing    bool
	finishAfter  time.Time
	cleaned      bool

	backoffs  map[string]lifecycle.Backoff
	errors    map[string]lifecycle.StartError
	notBefore map[string]time.Time
	replace   map[string]bool
	hooking   map[string]bool // names of containers whose postStart hook runs
	backedOff map[string]string
	resizing  resizing
	deferred  atomic.Bool          // a resize waits for room on the node
	counted   map[string]bool      // ids of containers that countRestart has seen
	learned   map[string]time.Time // when a sandbox or container became known
}

func newWorker(m *Manager, pod *corev1.Pod) *worker {
	return &worker{
		m: m, pod: pod, wake: make(chan struct{}, 1), obs: lifecycle.NewObserved(),
		kills: map[string]*kill{}, backoffs: map[string]lifecycle.Backoff{}, errors: map[string]lifecycle.StartError{},
		notBefore: map[string]time.Time{}, replace: map[string]bool{}, hooking: map[string]bool{},
		backedOff: map[string]string{}, counted: map[string]bool{}, learned: map[string]time.Time{},
		resizing: resizing{actual: map[string]corev1.ResourceRequirements{}, restart: map[string]bool{}},
	}
}

// post puts something for the worker to do into its mailbox.
func (w *worker) post(f func()) {
	w.mu.Lock()
	w.mailbox = append(w.mailbox, f)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) run(ctx context.Context) {
	logger := klog.FromContext(ctx).WithValues("pod", klog.KObj(w.pod), "podUID", w.pod.UID)
	ctx, cancel := context.WithCancel(klog.NewContext(ctx, logger))
	defer cancel()
	w.ctx = ctx
	w.writer = newWriter(w.m.Client, w.pod)
	writerDone := make(chan struct{})
	go func() { defer close(writerDone); w.writer.run(ctx) }()
	defer func() { cancel(); <-writerDone }()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !w.cleaned {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C:
		}
		w.mu.Lock()
		mail := w.mailbox
		w.mailbox = nil
		w.mu.Unlock()
		for _, f := range mail {
			f()
		}
		next := w.sync(time.Now())
		if next.IsZero() {
			next = time.Now().Add(time.Hour)
		}
		timer.Reset(max(time.Until(next), time.Millisecond))
	}
}

// update takes the API server's view of the pod.
func (w *worker) update(pod *corev1.Pod) {
	changed := !w.tracked || w.pod.Generation != pod.Generation
	labels := formatMeta(w.pod) != formatMeta(pod)
	status := w.pod.Status
	fresh := w.pod.ResourceVersion == ""
	w.writer.observe(pod)
	pod = w.grant(pod)
	w.pod = pod
	if !fresh && w.view.Load() != nil {
		// What the node itself saw last is newer than what comes back.
		w.pod = w.writer.merge(pod, status)
	}
	w.orphan = false
	if changed {
		w.tracked = true
		w.m.Objects.Track(pod)
	}
	if labels && w.volumesReady {
		w.refresh()
	}
}

func formatMeta(p *corev1.Pod) string {
	return spec.FormatMap(p.Labels) + "\x00" + spec.FormatMap(p.Annotations)
}

func (w *worker) remove(last *corev1.Pod) {
	w.removed = true
	w.pod = w.writer.merge(last, w.pod.Status)
}

// containerEvent takes the runtime's snapshot that comes with an event.
func (w *worker) containerEvent(e *runtimev1.ContainerEventResponse) {
	sandbox := e.GetPodSandboxStatus()
	if e.ContainerEventType == runtimev1.ContainerEventType_CONTAINER_DELETED_EVENT {
		delete(w.obs.Containers, e.ContainerId)
		delete(w.resizing.actual, e.ContainerId)
		delete(w.obs.Sandboxes, e.ContainerId)
		return
	}
	if sandbox != nil {
		w.mergeSandbox(sandbox)
	}
	for _, s := range e.ContainersStatuses {
		if id := s.GetId(); id != "" {
			w.mergeContainer(s, sandbox.GetId())
		}
	}
}

func (w *worker) learn(id string) {
	if w.learned[id].IsZero() {
		w.learned[id] = time.Now()
	}
}

func (w *worker) mergeSandbox(s *runtimev1.PodSandboxStatus) {
	w.learn(s.GetId())
	w.obs.MergeSandbox(sandboxFrom(s))
}

// mergeContainer adds a container's status. The message that a container left
// behind is read once, when its end becomes known.
func (w *worker) mergeContainer(s *runtimev1.ContainerStatus, sandboxID string) {
	if sandboxID == "" {
		sandboxID = w.obs.Containers[s.Id].SandboxID
	}
	w.learn(s.Id)
	c := containerFrom(s, sandboxID)
	if old, ok := w.obs.Containers[c.ID]; ok && old.State == lifecycle.Exited {
		return
	}
	if c.State == lifecycle.Exited {
		if m := terminationMessage(s, w.pod); m != "" {
			c.Message = m
		}
	}
	if w.obs.MergeContainer(c) && c.State != lifecycle.Created && !w.counted[c.ID] {
		w.counted[c.ID] = true
		w.countRestart(c)
	}
}

// countRestart keeps the history of crash back-off. It changes together with
// what is known of containers, so that no plan sees one without the other.
func (w *worker) countRestart(c lifecycle.Container) {
	all := w.obs.Instances(c.Name)
	if len(all) < 2 || all[0].ID != c.ID || all[1].State != lifecycle.Exited {
		return
	}
	begun := c.StartedAt
	if begun.IsZero() {
		begun = c.CreatedAt
	}
	w.backoffs[c.Name] = w.backoffs[c.Name].Next(all[1].FinishedAt, begun)
}

// listed compares with the runtime's whole list, and asks about what is new.
func (w *worker) listed(r *listing) {
	w.known = true
	// What became known after the list was asked for need not be in it.
	for id := range w.obs.Sandboxes {
		if r.sandboxes[id] == nil && w.learned[id].Before(r.at) {
			delete(w.obs.Sandboxes, id)
		}
	}
	for id := range w.obs.Containers {
		if r.containers[id] == nil && w.learned[id].Before(r.at) {
			delete(w.obs.Containers, id)
		}
	}
	for id, s := range r.sandboxes {
		old, ok := w.obs.Sandboxes[id]
		if ok && old.Ready == (s.State == runtimev1.PodSandboxState_SANDBOX_READY) {
			continue
		}
		w.askSandbox(id)
	}
	for id, c := range r.containers {
		old, ok := w.obs.Containers[id]
		if ok && old.State == stateFrom(c.State) {
			continue
		}
		w.askContainer(id, c.PodSandboxId)
	}
}

func (w *worker) askSandbox(id string) {
	res, err := w.m.CRI.PodSandboxStatus(w.ctx, &runtimev1.PodSandboxStatusRequest{PodSandboxId: id})
	if err != nil {
		klog.FromContext(w.ctx).V(2).Info("Could not ask about a sandbox", "sandbox", id, "err", err)
		return
	}
	w.mergeSandbox(res.Status)
}

func (w *worker) askContainer(id, sandboxID string) {
	res, err := w.m.CRI.ContainerStatus(w.ctx, &runtimev1.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		klog.FromContext(w.ctx).V(2).Info("Could not ask about a container", "container", id, "err", err)
		return
	}
	w.mergeContainer(res.Status, sandboxID)
}

// objectChanged tries again at once what may have failed for want of an
// object, and brings volumes up to date.
func (w *worker) objectChanged() {
	w.launchAfter = time.Time{}
	for name, e := range w.errors {
		if e.Reason == waitConfigError {
			delete(w.notBefore, name)
		}
	}
	if w.volumesReady {
		w.refresh()
	}
}
