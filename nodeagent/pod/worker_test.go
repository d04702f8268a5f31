package pod

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"coracle.dev/coracle/nodeagent/crifake"
)

// TestLateList: a list that was asked for before something came into being
// does not make it go away, and one that was asked for later does.
func TestLateList(t *testing.T) {
	w := newWorker(&Manager{Config: Config{CRI: crifake.New().CRI()}}, &corev1.Pod{})
	w.ctx = t.Context()
	before := time.Now()
	w.mergeSandbox(&runtimev1.PodSandboxStatus{Id: "s", Metadata: &runtimev1.PodSandboxMetadata{}, CreatedAt: before.Add(-time.Minute).UnixNano()})
	w.mergeContainer(&runtimev1.ContainerStatus{Id: "c", Metadata: &runtimev1.ContainerMetadata{Name: "c"}, CreatedAt: before.Add(-time.Minute).UnixNano()}, "s")
	w.listed(&listing{at: before})
	if len(w.obs.Sandboxes) != 1 || len(w.obs.Containers) != 1 {
		t.Errorf("forgotten: %+v", w.obs)
	}
	w.listed(&listing{at: time.Now()})
	if len(w.obs.Sandboxes) != 0 || len(w.obs.Containers) != 0 {
		t.Errorf("kept: %+v", w.obs)
	}
}
