package plugin

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"coracle.dev/coracle/scheduler/snapshot"
)

const none = " no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."

// TestDecisions holds whole decisions, with all plugins.
func TestDecisions(t *testing.T) {
	for _, tc := range []struct {
		name  string
		world []any
		pod   *corev1.Pod
		want  string
	}{
		{"no nodes", nil, pod("p"), "no nodes available to schedule pods"},
		{"the emptier node", []any{node("a"), node("b"), pod("x", on("a"), asks("cpu=1", "memory=1Gi"))}, pod("p"), "b"},
		{"equals: the first by name", []any{node("b"), node("a")}, pod("p"), "a"},
		{"the issue's example",
			[]any{node("a", tainted("k", "v", corev1.TaintEffectNoSchedule)), node("b", has("cpu=1")), node("c", has("cpu=1"))},
			pod("p", asks("cpu=2")),
			"0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu." + none},
		{"a mixture",
			[]any{node("a", cordoned), node("b"), node("c"), pod("x", on("c"), asks("cpu=3"))},
			pod("p", asks("cpu=3"), selects("disk=ssd")),
			"0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't match Pod's node affinity/selector." + none},
		{"full, of equals",
			[]any{node("a"), pod("x", on("a"), asks("cpu=3"))}, pod("p", asks("cpu=3", "memory=16Gi")),
			"0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."},
		{"full, but it could be otherwise",
			[]any{node("a"), pod("x", on("a"), asks("cpu=3"))}, pod("p", asks("cpu=3")),
			"0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."},
		{"preempts the least important",
			[]any{node("a"), node("b"), pod("x", on("a"), asks("cpu=3"), priority(5)), pod("y", on("b"), asks("cpu=3"), priority(3)), pod("z", on("b"), asks("cpu=500m"), priority(4))},
			pod("p", asks("cpu=3"), priority(9)), "b after y"},
		{"preempts fewer",
			[]any{node("a"), node("b"), pod("x1", on("a"), asks("cpu=2")), pod("x2", on("a"), asks("cpu=2")), pod("y", on("b"), asks("cpu=4"))},
			pod("p", asks("cpu=4"), priority(9)), "b after y"},
		{"preempts what holds its port",
			[]any{node("a"), pod("x", on("a"), hostPort(80, "", "")), pod("y", on("a"))}, pod("p", hostPort(80, "", ""), priority(1)), "a after x"},
		{"preempts what it must not be near",
			[]any{node("a"), pod("x", on("a"), app("web")), pod("y", on("a"))}, pod("p", away("web", corev1.LabelHostname), priority(1)), "a after x"},
		{"does not preempt for a node that would not do",
			[]any{node("a"), pod("x", on("a"), asks("cpu=4"))}, pod("p", asks("cpu=5"), priority(1)),
			"0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."},
		{"only the node that a pod of a DaemonSet names",
			[]any{node("a"), node("b"), node("c")}, daemonPod("d", "b"), "b"},
		{"the node that is named is full",
			[]any{node("a"), node("b", has("cpu=1")), node("c")}, daemonPod("d", "b", asks("cpu=2")),
			"0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]." + none},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := decide(world(tc.world...), tc.pod); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func daemonPod(name, node string, options ...podOption) *corev1.Pod {
	return pod(name, append(options, func(p *corev1.Pod) {
		affinity(p).NodeAffinity = &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{
				{Key: metadataName, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}}}}}
	})...)
}

// TestDefaultSpreading fills nodes in two zones with the pods of a service.
func TestDefaultSpreading(t *testing.T) {
	c := world(node("a1", zone("a")), node("a2", zone("a")), node("b1", zone("b")))
	c.SetService("default", "web", map[string]string{"app": "web"})
	var got []string
	for _, name := range []string{"p1", "p2", "p3", "p4", "p5", "p6"} {
		p := pod(name, app("web"))
		at := decide(c, p)
		c.Assume(snapshot.NewPod(p), at)
		got = append(got, at)
	}
	perNode := map[string]int{}
	for _, at := range got {
		perNode[at]++
	}
	if perNode["b1"] < 2 || perNode["a1"] < 1 || perNode["a2"] < 1 {
		t.Errorf("pods went to %v: not spread over nodes and zones", got)
	}
}

// TestPreemptionKeepsBudgets: a node whose pods no budget protects is better, and of a node's pods the unprotected go
// first; but a budget does not keep a more important pod from running.
func TestPreemptionKeepsBudgets(t *testing.T) {
	c := world(node("a"), node("b"),
		pod("a1", on("a"), asks("cpu=4"), app("guarded")),
		pod("b1", on("b"), asks("cpu=2"), app("guarded"), priority(1)), pod("b2", on("b"), asks("cpu=2"), priority(2)))
	guard := func(allowed int) {
		c.SetBudget(snapshot.Budget{Namespace: "default", Name: "b", Selector: labels.SelectorFromSet(labels.Set{"app": "guarded"}), Allowed: allowed})
	}
	for _, tc := range []struct {
		allowed int
		cpu     string
		want    string
	}{
		{1, "2", "a after a1"}, // the least important
		{0, "2", "b after b2"}, // the only one that may go
		{0, "4", "a after a1"}, // one violation either way
	} {
		guard(tc.allowed)
		if got := decide(c, pod("p", asks("cpu="+tc.cpu), priority(9))); got != tc.want {
			t.Errorf("with %d disruptions allowed, for %s CPUs: %s, want %s", tc.allowed, tc.cpu, got, tc.want)
		}
	}
}

// TestPreemptionLeavesNoTrace compares what is counted before and after.
func TestPreemptionLeavesNoTrace(t *testing.T) {
	c := world(node("a"), pod("x", on("a"), asks("cpu=3"), app("web")), pod("y", on("a"), asks("cpu=1"), app("web")))
	p := pod("p", asks("cpu=3"), priority(9), spread(corev1.LabelHostname, 5, corev1.DoNotSchedule, "web"))
	if got := decide(c, p); got != "a after x" {
		t.Fatalf("got %s", got)
	}
	n := c.Node("a")
	if n.Requested.MilliCPU != 4000 || len(n.Pods) != 2 {
		t.Errorf("after asking for a preemption the node holds %d pods and %dm CPU", len(n.Pods), n.Requested.MilliCPU)
	}
	if got := decide(c, p); got != "a after x" {
		t.Errorf("asked again: %s", got)
	}
}
