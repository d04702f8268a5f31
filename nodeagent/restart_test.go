package nodeagent

import (
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"coracle.dev/coracle/nodeagent/crifake"
)

// TestAgentRestart: containers outlive the agent, and the next one takes them
// up without touching them.
func TestAgentRestart(t *testing.T) { both(t, agentRestart) }

func agentRestart(t *testing.T, w *world) {
	w.create(appPod("kept", func(p *corev1.Pod) {
		p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}, PeriodSeconds: 1}
	}))
	w.create(appPod("doomed"))
	before := w.until("kept", "ready", ready)
	w.until("doomed", "ready", ready)
	w.stop()
	zero := int64(0)
	if err := w.client.CoreV1().Pods("default").Delete(w.ctx, "doomed", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
		t.Fatal(err)
	}
	watch, err := w.client.CoreV1().Pods("default").Watch(w.ctx, metav1.ListOptions{FieldSelector: "metadata.name=kept"})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	w.start()
	w.create(appPod("new"))
	w.until("new", "ready", ready)
	after := w.until("kept", "ready", ready)
	if a, b := before.Status.ContainerStatuses[0], after.Status.ContainerStatuses[0]; a.ContainerID != b.ContainerID || b.RestartCount != 0 {
		t.Errorf("container was %s, is %s after %d restarts", a.ContainerID, b.ContainerID, b.RestartCount)
	}
	for drained := false; !drained; {
		select {
		case e := <-watch.ResultChan():
			if p, ok := e.Object.(*corev1.Pod); ok && !ready(p) {
				t.Errorf("the pod was unready in between: %+v", p.Status)
			}
		default:
			drained = true
		}
	}
	eventually(t, "what runs of the deleted pod is removed", func() bool { return w.sandboxes(t, "doomed") == 0 })
}

// sandboxes counts a pod's sandboxes in the runtime.
func (w *world) sandboxes(t *testing.T, pod string) int {
	t.Helper()
	cri := w.runtime(t)
	res, err := cri.ListPodSandbox(w.ctx, &runtimev1.ListPodSandboxRequest{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range res.Items {
		if s.Metadata.Name == pod {
			n++
		}
	}
	return n
}

// TestRuntimeLosesSandboxes is a reboot, as far as pods see it.
func TestRuntimeLosesSandboxes(t *testing.T) {
	w := newWorld(t)
	w.create(appPod("again"))
	before := w.until("again", "ready", ready)
	w.cri.LoseSandboxes()
	after := w.until("again", "ready in a new sandbox", func(p *corev1.Pod) bool {
		return ready(p) && p.Status.PodIP != before.Status.PodIP
	})
	if s := after.Status.ContainerStatuses[0]; s.RestartCount != 1 || s.LastTerminationState.Terminated == nil {
		t.Errorf("status: %+v", s)
	}
	w.wantEvent("again", "SandboxChanged: Pod sandbox changed, it will be killed and re-created.")
}

// TestEventStreamBreaks: what happened meanwhile is found by listing.
func TestEventStreamBreaks(t *testing.T) {
	w := newWorld(t)
	w.create(appPod("watched"))
	w.until("watched", "ready", ready)
	w.cri.Disconnect()
	if !w.cri.Exit("watched", 1, "") {
		t.Fatal("no such container runs")
	}
	w.until("watched", "restarted", func(p *corev1.Pod) bool { return ready(p) && p.Status.ContainerStatuses[0].RestartCount == 1 })
}

// TestDeleteWhileStarting: a launch under way does not hold up the end.
func TestDeleteWhileStarting(t *testing.T) {
	w := newWorld(t)
	w.cri.OnPull = func(string, *runtimev1.AuthConfig) error { time.Sleep(200 * time.Millisecond); return nil }
	w.create(appPod("brief", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "far:v1" }))
	w.until("brief", "seen", func(p *corev1.Pod) bool { return p != nil && len(p.Status.ContainerStatuses) > 0 })
	if err := w.client.CoreV1().Pods("default").Delete(w.ctx, "brief", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.until("brief", "gone", gone)
	eventually(t, "its sandbox is gone, too", func() bool { return w.sandboxes(t, "brief") == 0 })
}

// TestManyPods: pods do not wait for one another.
func TestManyPods(t *testing.T) { both(t, manyPods) }

func manyPods(t *testing.T, w *world) {
	if w.cri != nil {
		w.cri.Behave = func(*runtimev1.ContainerConfig) crifake.Behaviour { return crifake.Behaviour{} }
	}
	w.create(appPod("warm"))
	w.until("warm", "ready", ready)
	var one []time.Duration
	for _, name := range []string{"s1", "s2", "s3", "s4", "s5"} {
		begun := time.Now()
		w.create(appPod(name))
		w.until(name, "ready", ready)
		one = append(one, time.Since(begun))
	}
	t.Logf("one at a time: %v", one)
	const n = 50
	names := make([]string, n)
	begun := time.Now()
	var wg sync.WaitGroup
	for i := range names {
		names[i] = "many-" + string(rune('a'+i/26)) + string(rune('a'+i%26))
		wg.Go(func() { w.create(appPod(names[i])) })
	}
	wg.Wait()
	for _, name := range names {
		w.until(name, "ready", ready)
	}
	t.Logf("%d pods ready after %v", n, time.Since(begun))
	begun = time.Now()
	for _, name := range names {
		wg.Go(func() {
			if err := w.client.CoreV1().Pods("default").Delete(w.ctx, name, metav1.DeleteOptions{}); err != nil {
				t.Errorf("deleting: %v", err)
			}
		})
	}
	wg.Wait()
	for _, name := range names {
		w.until(name, "gone", gone)
	}
	t.Logf("%d pods gone after %v", n, time.Since(begun))
}
