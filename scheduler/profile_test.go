package scheduler_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"

	"coracle.dev/coracle/scheduler/config"
)

// TestProfiles runs a configuration with two profiles, of which one packs nodes, and an extender that keeps pods off one.
func TestProfiles(t *testing.T) {
	var asked atomic.Int32
	extender := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		var args extenderv1.ExtenderArgs
		if err := json.NewDecoder(r.Body).Decode(&args); err != nil || args.NodeNames == nil {
			t.Errorf("the extender is asked %+v (%v)", args, err)
			return
		}
		result := extenderv1.ExtenderFilterResult{NodeNames: &[]string{}, FailedNodes: extenderv1.FailedNodesMap{}}
		for _, name := range *args.NodeNames {
			if name == "c" {
				result.FailedNodes[name] = "the extender does not like it"
				continue
			}
			*result.NodeNames = append(*result.NodeNames, name)
		}
		_ = json.NewEncoder(w).Encode(result)
	}))
	defer extender.Close()
	o, err := config.Read(fmt.Appendf(nil, `
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {leaderElect: false}
profiles:
- schedulerName: default-scheduler
- schedulerName: packing
  plugins: {score: {disabled: [{name: PodTopologySpread}]}}
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 1}]}}
extenders:
- {urlPrefix: %q, filterVerb: filter, nodeCacheCapable: true}
`, extender.URL))
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, o)
	for _, name := range []string{"a", "b", "c"} {
		node(t, c, name, "4", "10")
	}
	with := func(scheduler string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.SchedulerName = scheduler }
	}
	pod(t, c, "first", "1", with("packing"))
	first := await(t, c, "first", "was bound", bound)
	pod(t, c, "second", "1", with("packing"))
	second := await(t, c, "second", "was bound", bound)
	if second.Spec.NodeName != first.Spec.NodeName {
		t.Errorf("packed pods went to %s and %s", first.Spec.NodeName, second.Spec.NodeName)
	}
	pod(t, c, "spread", "1")
	if p := await(t, c, "spread", "was bound", bound); p.Spec.NodeName == first.Spec.NodeName || p.Spec.NodeName == "c" {
		t.Errorf("the pod of the usual profile went to %s, where the packed ones are or where none may go", p.Spec.NodeName)
	}
	pod(t, c, "nobodys", "1", with("absent"))
	huge := pod(t, c, "huge", "4", with("packing"))
	p := await(t, c, "huge", "was unschedulable", func(p *corev1.Pod) bool { return unschedulable(p) != nil })
	want := "0/3 nodes are available: 1 the extender does not like it, 2 Insufficient cpu. no new claims to deallocate, preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
	if got := unschedulable(p).Message; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	awaitEvent(t, c, huge, "FailedScheduling", "packing")
	if p, err := c.CoreV1().Pods("test").Get(t.Context(), "nobodys", metav1.GetOptions{}); err != nil || bound(p) || unschedulable(p) != nil {
		t.Errorf("a pod of a scheduler that is not there was touched: %+v (%v)", p, err)
	}
	if asked.Load() == 0 {
		t.Error("the extender was never asked")
	}
}
