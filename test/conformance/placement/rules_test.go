package placement

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/cluster/clustertest"
)

// TestRules is scenario S29: pods go where the rules say, on six nodes in three zones, of which the subtests use as
// many as they name.
func TestRules(t *testing.T) {
	t.Parallel()
	e := start(t, clustertest.WithNodes(6), clustertest.WithNodeSize("4", "8Gi", 110))
	all := e.namespace(t)
	for i := range 6 {
		all.patchNode(fmt.Sprintf("node-%d", i), fmt.Sprintf(`{"metadata":{"labels":{"%s":"z%d"}}}`, corev1.LabelTopologyZone, i/2))
	}
	all.patchNode("node-5", `{"spec":{"taints":[{"key":"k","value":"v","effect":"NoSchedule"}]}}`)
	for _, test := range []struct {
		name string
		run  func(in)
	}{
		{"taint and toleration", taints},
		{"preferred node affinity", preferredNode},
		{"pod affinity and anti-affinity", nearAndAway},
		{"topology spread", spread},
		{"claim that waits for its first consumer", firstConsumer},
		{"nothing fits", nothingFits},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(e.namespace(t))
		})
	}
}

func taints(n in) {
	n.create(pod("no", on("node-5")))
	n.refused("no", "0/6 nodes are available: 1 node(s) had untolerated taint(s), 5 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/6 nodes are available: 6 Preemption is not helpful for scheduling.")
	n.create(pod("yes", on("node-5"), func(p *corev1.Pod) {
		p.Spec.Tolerations = []corev1.Toleration{{Key: "k", Operator: corev1.TolerationOpEqual, Value: "v", Effect: corev1.TaintEffectNoSchedule}}
	}))
	n.runs("yes")
}

func preferredNode(n in) {
	n.create(pod("p", on("node-0", "node-1"), func(p *corev1.Pod) {
		p.Spec.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution = []corev1.PreferredSchedulingTerm{{Weight: 100, Preference: corev1.NodeSelectorTerm{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{"node-1"}}}}}}
	}))
	if p := n.runs("p"); p.Spec.NodeName != "node-1" {
		n.t.Errorf("the pod went to %s", p.Spec.NodeName)
	}
}

func term(app, key string) []corev1.PodAffinityTerm {
	return []corev1.PodAffinityTerm{{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}, TopologyKey: key}}
}

// nearAndAway: a database on one node, its clients in the same zone, and each of them on a node of its own.
func nearAndAway(n in) {
	n.create(pod("db", on("node-2"), labeled("app", "db")))
	n.runs("db")
	client := func(name string) *corev1.Pod {
		return pod(name, labeled("app", "client"), func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{
				PodAffinity:     &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: term("db", corev1.LabelTopologyZone)},
				PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: term("client", corev1.LabelHostname)},
			}
		})
	}
	var nodes []string
	for i := range 2 {
		name := fmt.Sprintf("client-%d", i)
		n.create(client(name))
		nodes = append(nodes, n.runs(name).Spec.NodeName)
	}
	if slices.Sort(nodes); !slices.Equal(nodes, []string{"node-2", "node-3"}) {
		n.t.Errorf("the clients went to %v", nodes)
	}
	n.create(client("client-2"))
	n.refused("client-2", "0/6 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match pod anti-affinity rules, 3 node(s) didn't match pod affinity rules.")
	if err := n.CoreV1().Pods(n.ns).Delete(n.t.Context(), "client-0", metav1.DeleteOptions{}); err != nil {
		n.t.Fatal(err)
	}
	n.runs("client-2")
}

func spread(n in) {
	zones := map[string]int{}
	for i := range 6 {
		name := fmt.Sprintf("p-%d", i)
		n.create(pod(name, labeled("app", "spread"), on("node-0", "node-1", "node-2", "node-3", "node-4"), func(p *corev1.Pod) {
			p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.DoNotSchedule,
				LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "spread"}}}}
		}))
		node, err := n.CoreV1().Nodes().Get(n.t.Context(), n.runs(name).Spec.NodeName, metav1.GetOptions{})
		if err != nil {
			n.t.Fatal(err)
		}
		zones[node.Labels[corev1.LabelTopologyZone]]++
	}
	if zones["z0"] != 2 || zones["z1"] != 2 || zones["z2"] != 2 {
		n.t.Errorf("pods by zone: %v", zones)
	}
}

// nothingFits sees the reasons counted, and the pod go on when one of them ends.
func nothingFits(n in) {
	n.create(pod("p", asks("example.com/thing=1"), func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Limits = p.Spec.Containers[0].Resources.Requests
	}))
	n.refused("p", "0/6 nodes are available: 1 node(s) had untolerated taint(s), 5 Insufficient example.com/thing. no new claims to deallocate, preemption: 0/6 nodes are available: 6 Preemption is not helpful for scheduling.")
	n.eventually("node-4 has the resource", func(ctx context.Context) error {
		_, err := n.CoreV1().Nodes().Patch(ctx, "node-4", "application/strategic-merge-patch+json", []byte(`{"status":{"capacity":{"example.com/thing":"1"},"allocatable":{"example.com/thing":"1"}}}`), metav1.PatchOptions{}, "status")
		return err
	})
	if p := n.runs("p"); p.Spec.NodeName != "node-4" {
		n.t.Errorf("the pod went to %s", p.Spec.NodeName)
	}
}
