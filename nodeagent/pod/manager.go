package pod

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	kubelettypes "k8s.io/kubelet/pkg/types"

	"coracle.dev/coracle/nodeagent/probe"
)

const (
	// relistPeriod is how often the runtime's whole list is compared with
	// what the workers know: a safety net below the event stream.
	relistPeriod = 60 * time.Second
	// reconnectDelay is the pause before a broken event stream is taken up
	// again.
	reconnectDelay = 500 * time.Millisecond
)

// Manager owns the workers of all pods.
type Manager struct {
	Config
	probes *probe.Manager
	wg     sync.WaitGroup

	sweepOnce sync.Once

	synced chan struct{} // closed by Synced
	swept  chan struct{} // closed by the first relist after that
	relist chan struct{} // asks for a relist

	mu      sync.RWMutex // guards workers
	workers map[types.UID]*worker
	ctx     context.Context //nolint:containedctx // workers end with Run
	cancel  context.CancelFunc
}

// NewManager makes a Manager. Objects may be set later, before Run.
func NewManager(c Config) *Manager {
	m := &Manager{
		Config: c, workers: map[types.UID]*worker{},
		synced: make(chan struct{}), swept: make(chan struct{}), relist: make(chan struct{}, 1),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.probes = probe.NewManager(m.ctx, c.Probes, m)
	return m
}

func (m *Manager) isSynced() bool {
	select {
	case <-m.synced:
		return true
	default:
		return false
	}
}

// Run follows the runtime's events until ctx ends. Containers go on running.
func (m *Manager) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	defer m.wg.Wait()
	defer m.cancel()
	for ctx.Err() == nil {
		if err := m.follow(ctx); err != nil && ctx.Err() == nil {
			logger.Error(err, "Lost the runtime's event stream; taking it up again")
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnectDelay):
		}
	}
	return nil
}

// follow subscribes, lists once, and then hands on events.
func (m *Manager) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := m.CRI.GetContainerEvents(ctx, &runtimev1.GetEventsRequest{})
	if err != nil {
		return fmt.Errorf("subscribing to container events: %w", err)
	}
	if err := m.Relist(ctx); err != nil {
		return err
	}
	go m.relistLoop(ctx)
	for {
		event, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("receiving container events: %w", err)
		}
		m.containerEvent(event)
	}
}

// relistLoop compares now and then, and when asked.
func (m *Manager) relistLoop(ctx context.Context) {
	ticker := time.NewTicker(relistPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-m.relist:
		}
		if err := m.Relist(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Could not list containers")
		}
	}
}

func (m *Manager) containerEvent(e *runtimev1.ContainerEventResponse) {
	uid := kubelettypes.GetPodUID(e.GetPodSandboxStatus().GetLabels())
	if uid == "" && len(e.ContainersStatuses) > 0 {
		uid = kubelettypes.GetPodUID(e.ContainersStatuses[0].Labels)
	}
	if w := m.worker(types.UID(uid)); w != nil {
		w.post(func() { w.containerEvent(e) })
	}
}

func (m *Manager) worker(uid types.UID) *worker {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.workers[uid]
}

// listing is one pod as the runtime lists it.
type listing struct {
	at              time.Time // before it was listed
	namespace, name string
	sandboxes       map[string]*runtimev1.PodSandbox
	containers      map[string]*runtimev1.Container
}

// Relist lists everything and makes every pod that the runtime knows known
// here. Pods that the API server does not know are dealt with when Synced has
// been called.
func (m *Manager) Relist(ctx context.Context) error {
	at, synced := time.Now(), m.isSynced()
	records, err := m.list(ctx, nil)
	if err != nil {
		return err
	}
	for uid, r := range records {
		w := m.worker(uid)
		if w == nil {
			w = m.adopt(uid, r)
		}
		if w != nil {
			w.post(func() { w.listed(r) })
		}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	for uid, w := range m.workers {
		if records[uid] == nil {
			w.post(func() { w.listed(&listing{at: at}) })
		}
	}
	if synced {
		m.sweepOnce.Do(func() { close(m.swept) })
	}
	return nil
}

// listPod lists what the runtime has of one pod.
func (m *Manager) listPod(ctx context.Context, uid types.UID) (*listing, error) {
	at := time.Now()
	records, err := m.list(ctx, map[string]string{kubelettypes.KubernetesPodUIDLabel: string(uid)})
	if err != nil {
		return nil, err
	}
	if r := records[uid]; r != nil {
		return r, nil
	}
	return &listing{at: at}, nil
}

func (m *Manager) list(ctx context.Context, labels map[string]string) (map[types.UID]*listing, error) {
	at := time.Now()
	sandboxes, err := m.CRI.ListPodSandbox(ctx, &runtimev1.ListPodSandboxRequest{Filter: &runtimev1.PodSandboxFilter{LabelSelector: labels}})
	if err != nil {
		return nil, fmt.Errorf("listing sandboxes: %w", err)
	}
	containers, err := m.CRI.ListContainers(ctx, &runtimev1.ListContainersRequest{Filter: &runtimev1.ContainerFilter{LabelSelector: labels}})
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", err)
	}
	records := map[types.UID]*listing{}
	get := func(labels map[string]string) *listing {
		uid := types.UID(kubelettypes.GetPodUID(labels))
		if uid == "" {
			return nil
		}
		if records[uid] == nil {
			records[uid] = &listing{at: at,
				namespace: kubelettypes.GetPodNamespace(labels), name: kubelettypes.GetPodName(labels),
				sandboxes: map[string]*runtimev1.PodSandbox{}, containers: map[string]*runtimev1.Container{},
			}
		}
		return records[uid]
	}
	for _, s := range sandboxes.Items {
		if r := get(s.Labels); r != nil {
			r.sandboxes[s.Id] = s
		}
	}
	for _, c := range containers.Containers {
		if r := get(c.Labels); r != nil {
			r.containers[c.Id] = c
		}
	}
	return records, nil
}

// adopt makes a worker for a pod that runs here although the API server does
// not know it. It returns nil while that is not certain.
func (m *Manager) adopt(uid types.UID, r *listing) *worker {
	if !m.isSynced() {
		return nil
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid, Namespace: r.namespace, Name: r.name}}
	pod.Spec.NodeName = m.NodeName
	names := map[string]bool{}
	for _, c := range r.containers {
		if name := c.GetMetadata().GetName(); !names[name] {
			names[name] = true
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name})
		}
	}
	w := m.ensure(pod)
	w.post(func() { w.orphan = true; w.removed = true })
	return w
}

// Synced tells that the API server's list of this node's pods has been
// delivered in full, so that other pods found here are left-overs.
func (m *Manager) Synced() {
	close(m.synced)
	select {
	case m.relist <- struct{}{}:
	default:
	}
}

// WaitForSync waits until Synced was called and the runtime's list has been
// gone through since. It is false if ctx ends first.
func (m *Manager) WaitForSync(ctx context.Context) bool {
	select {
	case <-m.swept:
		return true
	case <-ctx.Done():
		return false
	}
}

// Known tells whether there is a worker for the pod.
func (m *Manager) Known(uid types.UID) bool { return m.worker(uid) != nil }

// Update delivers a pod of this node as the API server has it.
func (m *Manager) Update(pod *corev1.Pod) {
	w := m.ensure(pod)
	w.post(func() { w.update(pod) })
}

// Remove tells that the API server has the pod no longer; last is what was
// known of it.
func (m *Manager) Remove(last *corev1.Pod) {
	if w := m.worker(last.UID); w != nil {
		w.post(func() { w.remove(last) })
	}
}

func (m *Manager) ensure(pod *corev1.Pod) *worker {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.workers[pod.UID]
	if w == nil {
		w = newWorker(m, pod)
		m.workers[pod.UID] = w
		m.wg.Add(1)
		go func() {
			defer m.wg.Done()
			w.run(m.ctx)
			m.mu.Lock()
			delete(m.workers, pod.UID)
			m.mu.Unlock()
			m.retryDeferred()
		}()
	}
	return w
}

// ObjectChanged tells that something the pod refers to changed.
func (m *Manager) ObjectChanged(uid types.UID) {
	if w := m.worker(uid); w != nil {
		w.post(w.objectChanged)
	}
}

// Changed implements probe.Observer.
func (m *Manager) Changed(uid types.UID) {
	if w := m.worker(uid); w != nil {
		w.post(func() {})
	}
}

// Unhealthy implements probe.Observer.
func (m *Manager) Unhealthy(t probe.Target, k probe.Kind, r probe.Result, message string) {
	text := fmt.Sprintf("%s probe failed: %s", k, message)
	if r == probe.Unknown {
		text = fmt.Sprintf("%s probe errored and resulted in unknown state: %s", k, message)
	}
	m.ContainerEvent(t.Pod, t.Container.Name, corev1.EventTypeWarning, ReasonUnhealthy, text)
}

// Pods lists the pods with the status that the node sees.
func (m *Manager) Pods() []*corev1.Pod {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]*corev1.Pod, 0, len(m.workers))
	for _, w := range m.workers {
		if p := w.view.Load(); p != nil && p.pod != nil {
			out = append(out, p.pod)
		}
	}
	return out
}

// Views lists all pods as their workers last saw them.
func (m *Manager) Views() []View {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]View, 0, len(m.workers))
	for _, w := range m.workers {
		if v := w.view.Load(); v != nil {
			out = append(out, *v)
		}
	}
	return out
}

// others lists the pods that use the node beside one.
func (m *Manager) others(uid types.UID) []*corev1.Pod {
	var out []*corev1.Pod
	for _, p := range m.Pods() {
		if p.UID != uid && p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded {
			out = append(out, p)
		}
	}
	return out
}

// ErrNotFound means that there is no such pod or container here.
var ErrNotFound = errors.New("not found")

// Find finds a pod by name, and by UID if that is not empty.
func (m *Manager) Find(namespace, name string, uid types.UID) (View, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var found *View
	for _, w := range m.workers {
		v := w.view.Load()
		if v == nil || v.pod.Namespace != namespace || v.pod.Name != name || (uid != "" && v.pod.UID != uid) {
			continue
		}
		if found == nil || found.pod.CreationTimestamp.Before(&v.pod.CreationTimestamp) {
			found = v
		}
	}
	if found == nil {
		return View{}, fmt.Errorf("pod %q in namespace %q: %w", name, namespace, ErrNotFound)
	}
	return *found, nil
}
