package plugin

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// TestFilters asks one plugin about the node "n".
func TestFilters(t *testing.T) {
	const hostname, zoneKey = corev1.LabelHostname, corev1.LabelTopologyZone
	for _, tc := range []struct {
		name   string
		plugin framework.Plugin
		world  []any
		pod    *corev1.Pod
		want   *framework.Status
	}{
		{"cordoned", NodeUnschedulable(), []any{node("n", cordoned)}, pod("p"), framework.Never("node(s) were unschedulable")},
		{"cordoned, tolerated", NodeUnschedulable(), []any{node("n", cordoned)}, pod("p", toleratesAll), nil},
		{"another node's name", NodeName(), []any{node("n")}, pod("p", on("m")), framework.Never("node(s) didn't match the requested node name")},
		{"taint NoExecute", TaintToleration(), []any{node("n", tainted("a", "", corev1.TaintEffectNoExecute))}, pod("p"),
			framework.Never("node(s) had untolerated taint(s)")},
		{"taint PreferNoSchedule", TaintToleration(), []any{node("n", tainted("a", "", corev1.TaintEffectPreferNoSchedule))}, pod("p"), nil},
		{"taint tolerated", TaintToleration(), []any{node("n", tainted("a", "b", corev1.TaintEffectNoSchedule))}, pod("p", toleratesAll), nil},
		{"selector matches", NodeAffinity(nil), []any{node("n", labeled("disk=ssd"))}, pod("p", selects("disk=ssd")), nil},
		{"selector differs", NodeAffinity(nil), []any{node("n", labeled("disk=hdd"))}, pod("p", selects("disk=ssd")),
			framework.Never("node(s) didn't match Pod's node affinity/selector")},
		{"port free for another protocol", NodePorts(), []any{node("n"), pod("x", on("n"), hostPort(80, "", ""))}, pod("p", hostPort(80, "", corev1.ProtocolUDP)), nil},
		{"port free on another address", NodePorts(), []any{node("n"), pod("x", on("n"), hostPort(80, "10.0.0.1", ""))}, pod("p", hostPort(80, "10.0.0.2", "")), nil},
		{"port taken on all addresses", NodePorts(), []any{node("n"), pod("x", on("n"), hostPort(80, "10.0.0.1", ""))}, pod("p", hostPort(80, "0.0.0.0", "")),
			framework.Unfit("node(s) didn't have free ports for the requested pod ports")},
		{"fits exactly", NodeResourcesFit(Fit{}), []any{node("n"), pod("x", on("n"), asks("cpu=1"))}, pod("p", asks("cpu=3")), nil},
		{"too many pods", NodeResourcesFit(Fit{}), []any{node("n", has("pods=1")), pod("x", on("n"))}, pod("p"), framework.Unfit("Too many pods")},
		{"an extended resource", NodeResourcesFit(Fit{}), []any{node("n", has("example.com/gpu=1")), pod("x", on("n"), asks("example.com/gpu=1"))}, pod("p", asks("example.com/gpu=1")),
			framework.Unfit("Insufficient example.com/gpu")},
		{"ephemeral storage that no such node has", NodeResourcesFit(Fit{}), []any{node("n")}, pod("p", asks("ephemeral-storage=1")),
			framework.Never("Insufficient ephemeral-storage")},
		{"skew", PodTopologySpread(nil), []any{node("n", zone("a")), node("m", zone("b")), pod("x", on("n"), app("w"))},
			pod("p", app("w"), spread(zoneKey, 1, corev1.DoNotSchedule, "w")), framework.Unfit(reasonSpread)},
		{"skew allowed", PodTopologySpread(nil), []any{node("n", zone("a")), node("m", zone("b")), pod("x", on("n"), app("w"))},
			pod("p", app("w"), spread(zoneKey, 2, corev1.DoNotSchedule, "w")), nil},
		{"no such label", PodTopologySpread(nil), []any{node("n"), node("m", zone("b"))},
			pod("p", app("w"), spread(zoneKey, 1, corev1.DoNotSchedule, "w")), framework.Never(reasonSpreadLabel)},
		{"too few domains", PodTopologySpread(nil), []any{node("n", zone("a")), pod("x", on("n"), app("w"))},
			pod("p", app("w"), spread(zoneKey, 1, corev1.DoNotSchedule, "w"), func(p *corev1.Pod) { two := int32(2); p.Spec.TopologySpreadConstraints[0].MinDomains = &two }),
			framework.Unfit(reasonSpread)},
		{"domains that the selector excludes do not count", PodTopologySpread(nil), []any{node("n", zone("a"), labeled("disk=ssd")), node("m", zone("b")), pod("x", on("n"), app("w"))},
			pod("p", app("w"), selects("disk=ssd"), spread(zoneKey, 1, corev1.DoNotSchedule, "w")), nil},
		{"affinity unmet", InterPodAffinity(Affinity{HardWeight: 1}), []any{node("n"), node("m"), pod("x", on("m"), app("db"))}, pod("p", near("db", hostname)), framework.Never(reasonAffinity)},
		{"affinity met by zone", InterPodAffinity(Affinity{HardWeight: 1}), []any{node("n", zone("a")), node("m", zone("a")), pod("x", on("m"), app("db"))}, pod("p", near("db", zoneKey)), nil},
		{"the first of its kind", InterPodAffinity(Affinity{HardWeight: 1}), []any{node("n")}, pod("p", app("db"), near("db", hostname)), nil},
		{"affinity needs the key", InterPodAffinity(Affinity{HardWeight: 1}), []any{node("n")}, pod("p", app("db"), near("db", zoneKey)), framework.Never(reasonAffinity)},
		{"anti-affinity", InterPodAffinity(Affinity{HardWeight: 1}), []any{node("n"), pod("x", on("n"), app("db"))}, pod("p", away("db", hostname)), framework.Unfit(reasonAntiAffinity)},
		{"anti-affinity of who is there", InterPodAffinity(Affinity{HardWeight: 1}), []any{node("n"), pod("x", on("n"), away("web", hostname))}, pod("p", app("web")), framework.Unfit(reasonExistingAnti)},
		{"other namespaces do not count", InterPodAffinity(Affinity{HardWeight: 1}), []any{node("n"), pod("x", on("n"), app("db"), func(p *corev1.Pod) { p.Namespace = "other" })}, pod("p", away("db", hostname)), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := world(tc.world...)
			judge, got := tc.plugin.Filter(c, snapshot.NewPod(tc.pod))
			if judge != nil {
				got = judge(c.Node("n"))
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("status (-want +got):\n%s", d)
			}
		})
	}
}

// TestScores rates all nodes of a world, in order of their names.
func TestScores(t *testing.T) {
	preferSSD := func(p *corev1.Pod) {
		affinity(p).NodeAffinity = &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{
			{Weight: 20, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: corev1.NodeSelectorOpIn, Values: []string{"ssd"}}}}},
			{Weight: 5, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "new", Operator: corev1.NodeSelectorOpExists}}}},
		}}
	}
	image := func(size int64) nodeOption {
		return func(n *corev1.Node) {
			n.Status.Images = []corev1.ContainerImage{{Names: []string{"img:latest"}, SizeBytes: size}}
		}
	}
	soft := corev1.TaintEffectPreferNoSchedule
	for _, tc := range []struct {
		name   string
		plugin framework.Plugin
		world  []any
		pod    *corev1.Pod
		want   []int64
	}{
		{"least allocated", NodeResourcesFit(Fit{}), []any{node("a"), node("b"), pod("x", on("b"), asks("cpu=2", "memory=4Gi"))}, pod("p", asks("cpu=1", "memory=2Gi")), []int64{75, 25}},
		{"most allocated", NodeResourcesFit(Fit{Strategy: MostAllocated}), []any{node("a"), node("b"), pod("x", on("b"), asks("cpu=2", "memory=4Gi"))}, pod("p", asks("cpu=1", "memory=2Gi")), []int64{25, 75}},
		{"weighted", NodeResourcesFit(Fit{Resources: []Weighted{{"cpu", 3}, {"memory", 1}}}), []any{node("a"), pod("x", on("a"), asks("cpu=2"))}, pod("p", asks("cpu=1", "memory=8Gi")), []int64{18}},
		{"on a curve", NodeResourcesFit(Fit{Strategy: RequestedToCapacityRatio, Shape: []Point{{0, 0}, {50, 10}, {100, 0}}}),
			[]any{node("a"), node("b"), pod("x", on("b"), asks("cpu=1", "memory=2Gi"))}, pod("p", asks("cpu=1", "memory=2Gi")), []int64{50, 100}},
		{"an extended resource", NodeResourcesFit(Fit{Strategy: MostAllocated, Resources: []Weighted{{"example.com/gpu", 1}}}),
			[]any{node("a", has("example.com/gpu=4")), node("b", has("example.com/gpu=2")), node("c")}, pod("p", asks("example.com/gpu=1")), []int64{25, 50, 0}},
		{"balance of three", BalancedAllocation([]Weighted{{"cpu", 1}, {"memory", 1}, {"ephemeral-storage", 1}}),
			[]any{node("a", has("ephemeral-storage=8Gi")), node("b", has("ephemeral-storage=8Gi")), pod("x", on("b"), asks("ephemeral-storage=4Gi"))}, pod("p", asks("cpu=2", "memory=4Gi")), []int64{76, 100}},
		{"nothing asked for counts a little", NodeResourcesFit(Fit{}), []any{node("a"), node("b"), pod("x", on("b"))}, pod("p"), []int64{97, 95}},
		{"balance", BalancedAllocation(nil), []any{node("a"), node("b"), pod("x", on("b"), asks("memory=4Gi"))}, pod("p", asks("cpu=2", "memory=1Mi")), []int64{75, 99}},
		{"soft taints", TaintToleration(), []any{node("a", tainted("x", "", soft), tainted("y", "", soft)), node("b", tainted("x", "", soft)), node("c")}, pod("p"), []int64{0, 50, 100}},
		{"preferred affinity", NodeAffinity(nil), []any{node("a"), node("b", labeled("disk=ssd")), node("c", labeled("disk=ssd", "new="))}, pod("p", preferSSD), []int64{0, 80, 100}},
		{"image", ImageLocality(), []any{node("a", image(1000<<20)), node("b", image(500<<20)), node("c")}, pod("p"), []int64{65, 31, 0}},
		{"no image anywhere", ImageLocality(), []any{node("a")}, pod("p"), nil},
		{"soft spread", PodTopologySpread(nil), []any{node("a"), node("b"), pod("x", on("b"), app("w"))}, pod("p", app("w"), spread(corev1.LabelHostname, 1, corev1.ScheduleAnyway, "w")), []int64{100, 0}},
		{"soft spread ignores nodes without the label", PodTopologySpread(nil), []any{node("a", zone("z")), node("b"), pod("x", on("b"), app("w"))},
			pod("p", app("w"), spread(corev1.LabelTopologyZone, 1, corev1.ScheduleAnyway, "w")), []int64{100, 0}},
		{"would rather be near", InterPodAffinity(Affinity{HardWeight: 1}), []any{node("a"), node("b"), pod("x", on("b"), app("w"))}, pod("p", rather("w", corev1.LabelHostname, 10)), []int64{0, 100}},
		{"the other would rather be near", InterPodAffinity(Affinity{HardWeight: 1}), []any{node("a"), node("b"), pod("x", on("b"), rather("w", corev1.LabelHostname, 10))}, pod("p", app("w")), []int64{0, 100}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := world(tc.world...)
			got := tc.plugin.Score(c, snapshot.NewPod(tc.pod), c.Nodes())
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("scores (-want +got):\n%s", d)
			}
		})
	}
}

func TestGate(t *testing.T) {
	p := pod("p")
	if got := SchedulingGates().Gate(snapshot.NewPod(p)); got != "" {
		t.Errorf("a pod without gates is held back: %s", got)
	}
	p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "wait"}}
	if got := SchedulingGates().Gate(snapshot.NewPod(p)); got == "" {
		t.Error("a pod with a gate is let through")
	}
}

func TestSiblings(t *testing.T) {
	c := world()
	c.SetService("default", "web", map[string]string{"app": "web"})
	c.SetService("default", "all", map[string]string{"tier": "front"})
	selector, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchLabels: map[string]string{"rs": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	c.SetOwner(snapshot.Owner{Kind: "ReplicaSet", Namespace: "default", Name: "rs"}, selector)
	p := pod("p", app("web"))
	yes := true
	p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "rs", Controller: &yes}}
	if got := c.Siblings(snapshot.NewPod(p)).String(); got != "app=web,rs=1" {
		t.Errorf("siblings of a pod of a service and a replica set: %s", got)
	}
	if got := c.Siblings(snapshot.NewPod(pod("q"))); got != nil {
		t.Errorf("siblings of a pod of nothing: %s", got)
	}
}
