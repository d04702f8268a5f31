package clustertest_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/cluster/clustertest"
	"coracle.dev/coracle/nodeagent/simulate"
	"coracle.dev/coracle/scheduler"
	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/plugin"
	"coracle.dev/coracle/scheduler/snapshot"
)

// quiet is the scheduler plugin under test: pods that are labelled quiet=true go to nodes that are too.
var quiet = framework.Plugin{
	Name: "Quiet",
	Filter: func(_ *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
		if p.Labels["quiet"] != "true" {
			return nil, nil
		}
		return func(n *snapshot.Node) *framework.Status {
			if n.Labels["quiet"] != "true" {
				return framework.Never("node(s) were too loud")
			}
			return nil
		}, nil
	},
	Wakes: framework.NodeAny, Local: true,
}

// TestExampleSchedulerPlugin tests a scheduler plugin, beside those that are on by default.
func TestExampleSchedulerPlugin(t *testing.T) {
	c := clustertest.New(t,
		clustertest.WithPools(simulate.Pool{Name: "loud", Count: 3}, simulate.Pool{Name: "quiet", Count: 1, Labels: map[string]string{"quiet": "true"}}),
		clustertest.WithScheduler(scheduler.Options{Profiles: []scheduler.Profile{
			{SchedulerName: corev1.DefaultSchedulerName, Plugins: append(plugin.Default(), quiet)}}}))
	cs := clientset(t, c)
	for i := range 3 {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p-", i), Labels: map[string]string{"quiet": "true"}}, Spec: template("", nil).Spec}
		if _, err := cs.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, cs.CoreV1().RESTClient(), "pods", p.Name, p, func(p *corev1.Pod) error {
			if p.Spec.NodeName != "" && p.Spec.NodeName != "quiet-0" {
				t.Fatalf("pod %s is on %s", p.Name, p.Spec.NodeName)
			}
			if p.Status.Phase != corev1.PodRunning {
				return fmt.Errorf("it is %s", p.Status.Phase)
			}
			return nil
		})
	}
	if _, err := cs.CoreV1().Nodes().Patch(t.Context(), "quiet-0", "application/merge-patch+json", []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "late", Labels: map[string]string{"quiet": "true"}}, Spec: template("", nil).Spec}
	if _, err := cs.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, cs.CoreV1().RESTClient(), "pods", p.Name, p, func(p *corev1.Pod) error {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && strings.Contains(c.Message, "3 node(s) were too loud") {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %v", p.Status.Conditions)
	})
}
