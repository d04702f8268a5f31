package placement

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"

	"coracle.dev/coracle/cluster/clustertest"
	"coracle.dev/coracle/controllers"
	"coracle.dev/coracle/nodeagent/simulate"
)

// deployment makes a Deployment whose pods leave a lost node after some time.
func (n in) deployment(name string, replicas int32, patience int64) {
	n.t.Helper()
	labels := map[string]string{"app": name}
	p := pod("", labeled("app", name), func(p *corev1.Pod) {
		p.Spec.TerminationGracePeriodSeconds = new(int64(1))
		for _, key := range []string{corev1.TaintNodeUnreachable, corev1.TaintNodeNotReady} {
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &patience})
		}
	})
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: p.Spec}}}
	if _, err := n.AppsV1().Deployments(n.ns).Create(n.t.Context(), d, metav1.CreateOptions{}); err != nil {
		n.t.Fatal(err)
	}
}

// ready are the ready pods of a Deployment, by node.
func (n in) ready(ctx context.Context, name string) (map[string]int, error) {
	pods, err := n.CoreV1().Pods(n.ns).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue }) {
			out[p.Spec.NodeName]++
		}
	}
	return out, nil
}

// settles waits until a Deployment has so many ready pods, none of them on a node.
func (n in) settles(name string, want int, without string) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("%s has %d ready pods, none on %q", name, want, without), func(ctx context.Context) error {
		got, err := n.ready(ctx, name)
		if err != nil {
			return err
		}
		sum := 0
		for _, count := range got {
			sum += count
		}
		if sum != want || got[without] > 0 {
			return fmt.Errorf("they are %v", got)
		}
		return nil
	})
}

// TestDrain is scenario S28: cordon, uncordon, taint and drain by kubectl, and evictions that respect a budget.
func TestDrain(t *testing.T) {
	e := start(t, clustertest.WithNodes(3))
	n := e.namespace(t)
	kubectl := func(want string, args ...string) {
		t.Helper()
		out, err := n.kubectl(args...)
		if err != nil || !strings.Contains(out, want) {
			t.Fatalf("kubectl %s: %v; want %q in\n%s", strings.Join(args, " "), err, want, out)
		}
	}
	kubectl("node/node-0 cordoned", "cordon", "node-0")
	n.create(pod("p", on("node-0")))
	n.refused("p", "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't match Pod's node affinity/selector.")
	kubectl("node/node-0 uncordoned", "uncordon", "node-0")
	n.runs("p")
	kubectl("node/node-0 tainted", "taint", "node", "node-0", "dedicated=x:NoExecute")
	n.gone(pod("p"))
	kubectl("node/node-0 untainted", "taint", "node", "node-0", "dedicated-")

	n.deployment("web", 6, 300)
	n.settles("web", 6, "")
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: policyv1.PodDisruptionBudgetSpec{
		MinAvailable: new(intstr.FromInt32(5)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}}
	if _, err := n.PolicyV1().PodDisruptionBudgets(n.ns).Create(t.Context(), budget, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	n.eventually("the budget allows one disruption", func(ctx context.Context) error {
		b, err := n.PolicyV1().PodDisruptionBudgets(n.ns).Get(ctx, "web", metav1.GetOptions{})
		if err == nil && b.Status.DisruptionsAllowed != 1 {
			err = fmt.Errorf("it allows %d", b.Status.DisruptionsAllowed)
		}
		return err
	})
	least := n.leastReady("web")
	kubectl("node/node-0 drained", "drain", "node-0", "--ignore-daemonsets", "--timeout=80s")
	if got := least(); got < 5 {
		t.Errorf("while draining only %d pods were ready at one time, and the budget wants 5", got)
	}
	n.settles("web", 6, "node-0")
	kubectl("node/node-0 uncordoned", "uncordon", "node-0")
}

// TestLostNode is scenario S26 on simulated nodes: the pods of a node that falls silent are replaced elsewhere, those of
// nodes that fall silent all at once stay, and a node that returns has nothing left of what is no longer its own.
func TestLostNode(t *testing.T) {
	t.Parallel()
	e := start(t, clustertest.WithNodes(3), clustertest.WithControllerOptions(func(o *controllers.Options) { o.NodeMonitorGracePeriod = 15 * time.Second }))
	n := e.namespace(t)
	down := func(node string, is bool) {
		t.Helper()
		n.patchNode(node, fmt.Sprintf(`{"metadata":{"annotations":{%q:"%v"}}}`, simulate.Down, is))
	}
	condition := func(node string, want corev1.ConditionStatus) {
		t.Helper()
		n.eventually(fmt.Sprintf("%s has Ready=%s", node, want), func(ctx context.Context) error {
			o, err := n.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
			if err != nil {
				return err
			}
			for _, c := range o.Status.Conditions {
				if c.Type == corev1.NodeReady && c.Status != want {
					return fmt.Errorf("it is %s", c.Status)
				}
			}
			return nil
		})
	}
	n.deployment("web", 6, 2)
	n.settles("web", 6, "")
	down("node-0", true)
	condition("node-0", corev1.ConditionUnknown)
	n.settles("web", 6, "node-0")
	down("node-0", false)
	condition("node-0", corev1.ConditionTrue)
	n.eventually("nothing is left on node-0", func(ctx context.Context) error {
		pods, err := n.CoreV1().Pods(n.ns).List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=node-0"})
		if err == nil && slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil }) {
			err = fmt.Errorf("there are %d", len(pods.Items))
		}
		return err
	})

	if err := n.AppsV1().Deployments(n.ns).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	n.deployment("patient", 6, 300) // which is Kubernetes' default: nodes do not fall silent at the same instant
	n.settles("patient", 6, "")
	before := n.names("patient")
	for i := range 3 {
		down(fmt.Sprintf("node-%d", i), true)
	}
	for i := range 3 {
		condition(fmt.Sprintf("node-%d", i), corev1.ConditionUnknown)
	}
	n.eventually("no node has a taint that evicts", func(ctx context.Context) error {
		nodes, err := n.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, o := range nodes.Items {
			if slices.ContainsFunc(o.Spec.Taints, func(t corev1.Taint) bool { return t.Effect == corev1.TaintEffectNoExecute }) {
				return fmt.Errorf("node %s has %v", o.Name, o.Spec.Taints)
			}
		}
		return nil
	})
	for i := range 3 {
		down(fmt.Sprintf("node-%d", i), false)
	}
	for i := range 3 {
		condition(fmt.Sprintf("node-%d", i), corev1.ConditionTrue)
	}
	n.settles("patient", 6, "")
	if after := n.names("patient"); !slices.Equal(before, after) {
		t.Errorf("all nodes were lost at once, and pods were replaced: before %v, after %v", before, after)
	}
}

// leastReady watches the pods of a Deployment until least is called, which tells how few were ready at one time.
func (n in) leastReady(name string) (least func() int) {
	n.t.Helper()
	list, err := n.CoreV1().Pods(n.ns).List(n.t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		n.t.Fatal(err)
	}
	ready := map[types.UID]bool{}
	note := func(p *corev1.Pod, gone bool) {
		delete(ready, p.UID)
		if !gone && p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue }) {
			ready[p.UID] = true
		}
	}
	for i := range list.Items {
		note(&list.Items[i], false)
	}
	w, err := n.CoreV1().Pods(n.ns).Watch(n.t.Context(), metav1.ListOptions{LabelSelector: "app=" + name, ResourceVersion: list.ResourceVersion})
	if err != nil {
		n.t.Fatal(err)
	}
	fewest, done := len(ready), make(chan struct{})
	go func() {
		defer close(done)
		for e := range w.ResultChan() {
			if p, is := e.Object.(*corev1.Pod); is {
				note(p, e.Type == watch.Deleted)
				fewest = min(fewest, len(ready))
			}
		}
	}()
	return func() int {
		w.Stop()
		<-done
		return fewest
	}
}

// names are the pods of a Deployment.
func (n in) names(deployment string) []string {
	n.t.Helper()
	pods, err := n.CoreV1().Pods(n.ns).List(n.t.Context(), metav1.ListOptions{LabelSelector: "app=" + deployment})
	if err != nil {
		n.t.Fatal(err)
	}
	var out []string
	for i := range pods.Items {
		out = append(out, pods.Items[i].Name)
	}
	slices.Sort(out)
	return out
}
