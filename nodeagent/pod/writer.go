package pod

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
)

// Pauses after a status could not be written.
const (
	firstRewrite = 200 * time.Millisecond
	maxRewrite   = 5 * time.Second
	// patience is how long a status that nobody acts on may wait.
	patience = 100 * time.Millisecond
)

// owned are the conditions that the node writes; all others are kept as the
// API server has them.
var owned = []corev1.PodConditionType{
	corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled,
	corev1.PodResizePending, corev1.PodResizeInProgress,
}

// writer brings one pod's status to the API server: always the latest, one
// write at a time, so that states that last no longer than a write are passed
// over. A patch is made against the newest status that the server is known to
// have and is bound to the pod's UID.
type writer struct {
	client kubernetes.Interface

	mu      sync.Mutex // guards what follows
	base    *corev1.Pod
	want    *corev1.Pod
	version int // of want
	written int
	gone    bool
	urgent  bool          // what has not been written must not wait
	changed chan struct{} // closed and replaced when written or gone changes
	kick    chan struct{}
	hurry   chan struct{}
	// flushing is how many wait in flush.
	flushing int
}

func newWriter(client kubernetes.Interface, pod *corev1.Pod) *writer {
	return &writer{client: client, base: pod, changed: make(chan struct{}), kick: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
}

// observe takes a pod as the API server sent it.
func (w *writer) observe(pod *corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if newer(pod.ResourceVersion, w.base.ResourceVersion) {
		w.base = pod
	}
	if w.want == nil || w.written != w.version {
		return
	}
	if mine := w.merge(w.base, w.want.Status); !sameStatus(&w.base.Status, &mine.Status) {
		w.written = w.version - 1 // somebody else changed what is ours
		w.kickLocked()
	}
}

// newer compares resource versions; what cannot be compared counts as newer.
func newer(a, b string) bool {
	x, errA := strconv.ParseUint(a, 10, 64)
	y, errB := strconv.ParseUint(b, 10, 64)
	return errA != nil || errB != nil || x > y
}

// merge gives the API server's pod the node's own status, save what others
// write.
func (w *writer) merge(api *corev1.Pod, own corev1.PodStatus) *corev1.Pod {
	out := *api
	status := *own.DeepCopy()
	foreign := func(c corev1.PodCondition) bool { return !slices.Contains(owned, c.Type) }
	status.Conditions = slices.DeleteFunc(status.Conditions, foreign)
	for _, c := range api.Status.Conditions {
		if foreign(c) {
			status.Conditions = append(status.Conditions, c)
		}
	}
	status.NominatedNodeName = api.Status.NominatedNodeName
	status.ResourceClaimStatuses = api.Status.ResourceClaimStatuses
	status.ExtendedResourceClaimStatus = api.Status.ExtendedResourceClaimStatus
	// Somebody else may end a pod too.
	if p := api.Status.Phase; p == corev1.PodFailed || p == corev1.PodSucceeded {
		if status.Phase != p {
			status.Phase, status.Reason, status.Message = p, api.Status.Reason, api.Status.Message
		}
	}
	out.Status = status
	return &out
}

// submit sets the status to be written.
func (w *writer) submit(pod *corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.want != nil && sameStatus(&w.want.Status, &pod.Status) {
		return
	}
	if w.urgent = w.urgent || w.flushing > 0 || isUrgent(w.want, pod); w.urgent {
		defer w.hurryLocked()
	}
	w.want = pod
	w.version++
	w.kickLocked()
}

// hurryLocked ends the wait of a write that may wait.
func (w *writer) hurryLocked() {
	select {
	case w.hurry <- struct{}{}:
	default:
	}
}

// dally lets a write that is not urgent wait for more to come.
func (w *writer) dally(ctx context.Context) {
	w.mu.Lock()
	urgent := w.urgent
	select { // of an earlier write
	case <-w.hurry:
	default:
	}
	w.mu.Unlock()
	if urgent {
		return
	}
	select {
	case <-ctx.Done():
	case <-w.hurry:
	case <-time.After(patience):
	}
}

func (w *writer) kickLocked() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

func sameStatus(a, b *corev1.PodStatus) bool {
	x, y := *a, *b
	byType := func(p, q corev1.PodCondition) int {
		if p.Type < q.Type {
			return -1
		}
		return 1
	}
	x.Conditions, y.Conditions = slices.Clone(x.Conditions), slices.Clone(y.Conditions)
	slices.SortFunc(x.Conditions, byType)
	slices.SortFunc(y.Conditions, byType)
	for i := range x.Conditions {
		x.Conditions[i].LastTransitionTime = metav1.Time{}
	}
	for i := range y.Conditions {
		y.Conditions[i].LastTransitionTime = metav1.Time{}
	}
	return equality.Semantic.DeepEqual(x, y)
}

// flush waits until the latest status has been written, or the pod is gone.
func (w *writer) flush(ctx context.Context) error {
	w.mu.Lock()
	w.flushing++
	w.urgent = true
	w.hurryLocked()
	w.mu.Unlock()
	defer func() { w.mu.Lock(); w.flushing--; w.mu.Unlock() }()
	for {
		w.mu.Lock()
		done, changed := w.gone || w.written == w.version, w.changed
		w.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *writer) run(ctx context.Context) {
	delay := firstRewrite
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.kick:
		}
		w.dally(ctx)
		for ctx.Err() == nil {
			more, err := w.write(ctx)
			if err == nil {
				delay = firstRewrite
				if !more {
					break
				}
				continue
			}
			klog.FromContext(ctx).V(2).Info("Could not write a pod's status; trying again", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(delay):
			}
			delay = min(2*delay, maxRewrite)
		}
	}
}

// write writes the latest status once and tells whether there is more.
func (w *writer) write(ctx context.Context) (more bool, err error) {
	w.mu.Lock()
	base, want, version := w.base, w.want, w.version
	w.urgent = false
	idle := w.gone || want == nil || w.written == version
	w.mu.Unlock()
	if idle {
		return false, nil
	}
	result, err := w.patch(ctx, base, want)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		w.gone = true // or another pod of the same name is there
	case err != nil:
		return true, err
	default:
		w.written = version
		if result != nil && newer(result.ResourceVersion, w.base.ResourceVersion) {
			w.base = result
		}
	}
	close(w.changed)
	w.changed = make(chan struct{})
	return !w.gone && w.written != w.version, nil
}

// statusOnly is the part of a pod that a patch is made of.
type statusOnly struct {
	Metadata *metav1.ObjectMeta `json:"metadata,omitempty"`
	Status   corev1.PodStatus   `json:"status"`
}

func (w *writer) patch(ctx context.Context, base, want *corev1.Pod) (*corev1.Pod, error) {
	want = w.merge(base, want.Status)
	before, err := json.Marshal(statusOnly{Status: base.Status})
	if err != nil {
		return nil, fmt.Errorf("encoding status: %w", err)
	}
	after, err := json.Marshal(statusOnly{Status: want.Status})
	if err != nil {
		return nil, fmt.Errorf("encoding status: %w", err)
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, &corev1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("comparing statuses: %w", err)
	}
	if string(patch) == "{}" {
		return nil, nil
	}
	// The UID makes the server refuse the patch for another pod of this name.
	patch = append([]byte(fmt.Sprintf(`{"metadata":{"uid":%q},`, want.UID)), patch[1:]...)
	return w.client.CoreV1().Pods(want.Namespace).Patch(ctx, want.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
}
