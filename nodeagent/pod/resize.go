package pod

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"coracle.dev/coracle/nodeagent/lifecycle"
	"coracle.dev/coracle/nodeagent/spec"
)

// retryResize is the pause after resources could not be changed.
const retryResize = 5 * time.Second

// resizing is what a worker knows of its pod's resources.
type resizing struct {
	// desired is what the API server's pod asks for, allocated what the node
	// has granted; the worker's pod carries the latter.
	desired, allocated lifecycle.Resources
	// actual is what containers have, by id.
	actual map[string]corev1.ResourceRequirements
	state  lifecycle.Resize
	busy   bool
	// restart holds ids of containers that have to be replaced.
	restart map[string]bool
	after   time.Time // no sooner than this
}

// grant gives the API server's pod the resources that the node has granted.
func (w *worker) grant(pod *corev1.Pod) *corev1.Pod {
	r := &w.resizing
	r.desired = lifecycle.DesiredResources(pod)
	if r.allocated == nil {
		r.allocated = lifecycle.AllocatedResources(pod)
	}
	return lifecycle.WithResources(pod, r.allocated)
}

// resize brings the containers to what the pod asks for, as far as the node has it.
func (w *worker) resize(now time.Time) {
	r := &w.resizing
	if w.termination != nil || w.removed || w.orphan || r.allocated == nil {
		return
	}
	for id, c := range w.obs.Containers {
		if _, known := r.actual[id]; !known && c.State == lifecycle.Running {
			r.actual[id] = r.allocated[c.Name]
		}
	}
	if r.busy {
		return
	}
	if r.desired.Equal(r.allocated) {
		w.setPending("", "")
	} else {
		w.decideResize()
	}
	changes := slices.DeleteFunc(lifecycle.Changes(w.pod, w.obs, r.actual), func(c lifecycle.Change) bool { return r.restart[c.Container.ID] })
	if (len(changes) > 0 || r.state.InProgress && !w.replacing()) && !now.Before(r.after) {
		w.applyResize(changes)
	}
}

// replacing tells whether a container that was stopped for its resources has
// no successor yet.
func (w *worker) replacing() bool {
	for id := range w.resizing.restart {
		old := w.obs.Containers[id]
		if last, ok := w.obs.Newest(old.Name); ok && (last.ID == id || last.State == lifecycle.Created) {
			return true
		}
		delete(w.resizing.restart, id)
	}
	return false
}

// decideResize asks whether the node can give what is asked for.
func (w *worker) decideResize() {
	r := &w.resizing
	wanted := lifecycle.WithResources(w.pod, r.desired)
	if w.m.FitsResize != nil {
		if reason, message := w.m.FitsResize(wanted, w.m.others(w.pod.UID)); reason != "" {
			w.setPending(reason, message)
			return
		}
	}
	w.setPending("", "")
	r.allocated, w.pod = r.desired, wanted
	r.state.InProgress, r.after = true, time.Time{}
	w.m.ContainerEvent(w.pod, "", corev1.EventTypeNormal, reasonResizeStarted, "Pod resize started: "+describeResize(wanted))
}

func (w *worker) setPending(reason, message string) {
	s := &w.resizing.state
	if reason != "" && s.PendingReason != reason {
		w.m.ContainerEvent(w.pod, "", corev1.EventTypeWarning, "Resize"+reason, "Pod resize "+reason+": "+message)
	}
	s.PendingReason, s.PendingMessage = reason, message
	w.deferred.Store(reason == corev1.PodReasonDeferred)
}

// describeResize is the resources as events show them.
func describeResize(pod *corev1.Pod) string {
	type container struct {
		Name      string                      `json:"name"`
		Resources corev1.ResourceRequirements `json:"resources"`
	}
	var all struct {
		Containers []container `json:"containers"`
		Generation int64       `json:"generation"`
	}
	all.Generation = pod.Generation
	for i := range pod.Spec.Containers {
		all.Containers = append(all.Containers, container{pod.Spec.Containers[i].Name, pod.Spec.Containers[i].Resources})
	}
	text, _ := json.Marshal(all) // it cannot fail
	return string(text)
}

// applyResize makes room for the changes and makes them; with none left, it
// takes the room back that is no longer needed.
func (w *worker) applyResize(changes []lifecycle.Change) {
	r := &w.resizing
	r.state.InProgress, r.busy = true, true
	pod, had := w.pod, lifecycle.Resources{}
	for _, c := range changes {
		had[c.Container.Name] = r.actual[c.Container.ID]
	}
	before := lifecycle.WithResources(pod, had)
	go func() {
		err := w.m.changeResources(w.ctx, before, pod, changes)
		w.post(func() { w.resized(changes, err) })
	}()
}

func (w *worker) resized(changes []lifecycle.Change, err error) {
	r := &w.resizing
	r.busy = false
	if err != nil {
		r.state.Error, r.after = message(err), time.Now().Add(retryResize)
		return
	}
	r.state.Error = ""
	for _, c := range changes {
		if c.Restart {
			r.restart[c.Container.ID] = true
		} else {
			r.actual[c.Container.ID] = c.Definition.Resources
		}
	}
	if len(changes) == 0 {
		r.state.InProgress = false
		w.m.ContainerEvent(w.pod, "", corev1.EventTypeNormal, reasonResizeCompleted, "Pod resize completed: "+describeResize(w.pod))
		w.m.retryDeferred()
	}
}

// changeResources changes containers and the pod's cgroup, which is never
// smaller than what is in it.
func (m *Manager) changeResources(ctx context.Context, before, after *corev1.Pod, changes []lifecycle.Change) error {
	room := spec.PodResources(after)
	if len(changes) > 0 {
		room = larger(spec.PodResources(before), room)
	}
	if err := m.Cgroups.Create(string(after.UID), room); err != nil {
		return fmt.Errorf("resizing the pod's cgroup: %w", err)
	}
	for _, c := range changes {
		if c.Restart {
			continue
		}
		_, err := m.CRI.UpdateContainerResources(ctx, &runtimev1.UpdateContainerResourcesRequest{
			ContainerId: c.Container.ID, Linux: spec.LinuxResources(after, c.Definition, m.Spec),
		})
		if err != nil {
			return fmt.Errorf("resizing container %s: %w", c.Container.Name, err)
		}
	}
	return nil
}

// larger takes the larger of each; no limit is the largest.
func larger(a, b *runtimev1.LinuxContainerResources) *runtimev1.LinuxContainerResources {
	limit := func(x, y int64) int64 {
		if x == 0 || y == 0 {
			return 0
		}
		return max(x, y)
	}
	return &runtimev1.LinuxContainerResources{
		CpuShares: max(a.CpuShares, b.CpuShares), CpuPeriod: b.CpuPeriod,
		CpuQuota: limit(a.CpuQuota, b.CpuQuota), MemoryLimitInBytes: limit(a.MemoryLimitInBytes, b.MemoryLimitInBytes),
	}
}

// retryDeferred has pods whose resources the node did not have look again.
func (m *Manager) retryDeferred() {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, w := range m.workers {
		if w.deferred.Load() {
			w.post(func() {})
		}
	}
}
