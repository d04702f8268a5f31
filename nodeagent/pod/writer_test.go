package pod

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func podWith(phase corev1.PodPhase, ready bool, conditions ...corev1.PodCondition) *corev1.Pod {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u", ResourceVersion: "1"}}
	p.Status.Phase = phase
	p.Status.Conditions = append([]corev1.PodCondition{{Type: corev1.PodReady, Status: status}}, conditions...)
	return p
}

// server counts patches and can be slow or away.
type server struct {
	mu      sync.Mutex
	patches []string
	fail    error
	gate    chan struct{}
}

func newServer(p *corev1.Pod) (*server, *fake.Clientset) {
	s, client := &server{}, fake.NewClientset(p)
	client.PrependReactor("patch", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if s.gate != nil {
			<-s.gate
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.fail != nil {
			return true, nil, s.fail
		}
		s.patches = append(s.patches, string(a.(clienttesting.PatchAction).GetPatch()))
		return false, nil, nil
	})
	return s, client
}

func (s *server) count() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.patches) }

func TestWriterPassesOverWhatIsShort(t *testing.T) {
	s, client := newServer(podWith(corev1.PodPending, false))
	s.gate = make(chan struct{})
	w := newWriter(client, podWith(corev1.PodPending, false))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go w.run(ctx)
	w.submit(podWith(corev1.PodRunning, false))
	s.gate <- struct{}{} // the first write is under way, or about to be
	w.submit(podWith(corev1.PodRunning, true))
	w.submit(podWith(corev1.PodRunning, false))
	w.submit(podWith(corev1.PodRunning, true))
	close(s.gate)
	if err := w.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.count(); n > 2 {
		t.Errorf("%d writes: %v", n, s.patches)
	}
	p, _ := client.CoreV1().Pods("n").Get(t.Context(), "p", metav1.GetOptions{})
	if !isReady(&p.Status) || p.Status.Phase != corev1.PodRunning {
		t.Errorf("written: %+v", p.Status)
	}
	var patch struct{ Metadata struct{ UID string } }
	if err := json.Unmarshal([]byte(s.patches[0]), &patch); err != nil || patch.Metadata.UID != "u" {
		t.Errorf("the patch is for any pod of this name: %s", s.patches[0])
	}
}

func TestWriterTriesAgain(t *testing.T) {
	s, client := newServer(podWith(corev1.PodPending, false))
	s.fail = errors.New("away")
	w := newWriter(client, podWith(corev1.PodPending, false))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go w.run(ctx)
	w.submit(podWith(corev1.PodRunning, true))
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := w.flush(short); err == nil {
		t.Error("written although the server is away")
	}
	s.mu.Lock()
	s.fail = nil
	s.mu.Unlock()
	if err := w.flush(t.Context()); err != nil || s.count() != 1 {
		t.Errorf("%v, %d writes", err, s.count())
	}
}

// TestMergeKeepsOthersConditions: what others say of the pod is theirs.
func TestMergeKeepsOthersConditions(t *testing.T) {
	gate := corev1.PodCondition{Type: "example.com/gate", Status: corev1.ConditionTrue}
	w := newWriter(nil, podWith(corev1.PodRunning, false))
	own := podWith(corev1.PodRunning, true, corev1.PodCondition{Type: "example.com/stale", Status: corev1.ConditionTrue})
	got := w.merge(podWith(corev1.PodPending, false, gate), own.Status)
	want := []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}, gate}
	if diff := cmp.Diff(want, got.Status.Conditions); diff != "" || got.Status.Phase != corev1.PodRunning {
		t.Errorf("%s %s", got.Status.Phase, diff)
	}
	if got := w.merge(podWith(corev1.PodFailed, false), own.Status); got.Status.Phase != corev1.PodFailed {
		t.Error("a pod that somebody else ended lives on")
	}
}

func TestUrgent(t *testing.T) {
	creating := podWith(corev1.PodPending, false)
	creating.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}}
	addressed := creating.DeepCopy()
	addressed.Status.PodIP = "10.0.0.1"
	failing := creating.DeepCopy()
	failing.Status.ContainerStatuses[0].State.Waiting.Reason = "ErrImagePull"
	for name, c := range map[string]struct {
		before, now *corev1.Pod
		want        bool
	}{
		"first": {nil, creating, false}, "address": {creating, addressed, false}, "error": {creating, failing, true},
		"running": {creating, podWith(corev1.PodRunning, false), true}, "ready": {podWith(corev1.PodRunning, false), podWith(corev1.PodRunning, true), true},
		"unready": {podWith(corev1.PodRunning, true), podWith(corev1.PodRunning, false), true},
	} {
		if got := isUrgent(c.before, c.now); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
