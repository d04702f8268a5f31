package placement

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"coracle.dev/coracle/cluster/clustertest"
)

// TestConformance has the requirements of sig-scheduling. Nodes have 4 CPUs; each subtest has one of its own.
func TestConformance(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		run  func(n in, node string)
	}{
		{"resource limits", resourceLimits},
		{"node selector matching", selectorMatches},
		{"node selector not matching", selectorDiffers},
		{"host ports conflict", hostPorts},
		{"preemption of replica sets", preemptionPath},
		{"basic preemption", basicPreemption},
		{"preemption by a critical pod", criticalPreemption},
		{"disruption condition", disruptionCondition},
		{"LimitRange with defaults", limitRange},
		{"LimitRange by collection", limitRanges},
		{"PriorityClass endpoints", priorityClasses},
	}
	e := start(t, clustertest.WithNodes(len(tests)), clustertest.WithNodeSize("4", "8Gi", 110))
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(e.namespace(t), fmt.Sprintf("node-%d", i))
		})
	}
}

func resourceLimits(n in, node string) {
	n.create(pod("filler", on(node), asks("cpu=2500m")))
	n.runs("filler")
	n.create(pod("fits", on(node), asks("cpu=1500m")))
	n.create(pod("more", on(node), asks("cpu=1m")))
	n.runs("fits")
	n.refused("more", "0/11 nodes are available: 1 Insufficient cpu, 10 node(s) didn't match Pod's node affinity/selector.")
}

func selectorMatches(n in, node string) {
	n.patchNode(node, `{"metadata":{"labels":{"`+n.ns+`":"42"}}}`)
	n.create(pod("p", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{n.ns: "42"} }))
	if p := n.runs("p"); p.Spec.NodeName != node {
		n.t.Errorf("the pod went to %s, the label is on %s", p.Spec.NodeName, node)
	}
}

func selectorDiffers(n in, _ string) {
	n.create(pod("p", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"label": "nonempty"} }))
	n.refused("p", "0/11 nodes are available: 11 node(s) didn't match Pod's node affinity/selector.")
}

func hostPorts(n in, node string) {
	port := func(ip string, protocol corev1.Protocol) podOption {
		return func(p *corev1.Pod) {
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080, HostPort: 54322, HostIP: ip, Protocol: protocol}}
		}
	}
	n.create(pod("all", on(node), port("", corev1.ProtocolTCP)))
	n.runs("all")
	n.create(pod("one", on(node), port("127.0.0.1", corev1.ProtocolTCP)))
	n.refused("one", "0/11 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 10 node(s) didn't match Pod's node affinity/selector.")
	n.create(pod("udp", on(node), port("", corev1.ProtocolUDP)))
	n.runs("udp")
}

// preemptionPath has three sets of rising priority on the node, and a fourth that takes the room of the least.
func preemptionPath(n in, node string) {
	set := func(i, replicas int32, cpu string) {
		labels := map[string]string{"set": fmt.Sprint(i)}
		p := pod("", on(node), asks("cpu="+cpu), labeled("set", fmt.Sprint(i)), class(n.priority(fmt.Sprint("p", i), i)))
		p.Spec.TerminationGracePeriodSeconds = new(int64)
		rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("rs-%d", i)}, Spec: appsv1.ReplicaSetSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: p.Spec}}}
		if _, err := n.AppsV1().ReplicaSets(n.ns).Create(n.t.Context(), rs, metav1.CreateOptions{}); err != nil {
			n.t.Fatal(err)
		}
	}
	running := func(want map[string]int) {
		n.t.Helper()
		n.eventually(fmt.Sprintf("the sets run %v", want), func(ctx context.Context) error {
			pods, err := n.CoreV1().Pods(n.ns).List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			got := map[string]int{}
			for i := range pods.Items {
				if p := &pods.Items[i]; p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
					got[p.Labels["set"]]++
				}
			}
			if !maps.Equal(got, want) {
				return fmt.Errorf("they run %v", got)
			}
			return nil
		})
	}
	set(1, 5, "200m")
	set(2, 4, "300m")
	set(3, 4, "450m")
	running(map[string]int{"1": 5, "2": 4, "3": 4})
	set(4, 1, "900m")
	running(map[string]int{"2": 4, "3": 4, "4": 1})
}

// fill puts pods of a priority on a node, which has room for three.
func (n in) fill(node string, classes ...string) (pods []*corev1.Pod) {
	for i, c := range classes {
		n.create(pod(fmt.Sprintf("filler-%d", i), on(node), asks("cpu=1300m"), class(c)))
		pods = append(pods, n.runs(fmt.Sprintf("filler-%d", i)))
	}
	return pods
}

func basicPreemption(n in, node string) {
	low, middle, high := n.priority("low", 1), n.priority("middle", 100), n.priority("high", 1000)
	fillers := n.fill(node, middle, low, middle)
	n.create(pod("high", on(node), asks("cpu=1300m"), class(high)))
	n.gone(fillers[1])
	n.runs("high")
	n.runs("filler-0")
	n.runs("filler-2")
}

func criticalPreemption(n in, node string) {
	low := n.priority("low", 1)
	fillers := n.fill(node, low)
	critical := pod("critical", on(node), asks("cpu=3500m"), class("system-cluster-critical"))
	critical.Namespace = metav1.NamespaceSystem
	critical.Name = n.ns
	if _, err := n.CoreV1().Pods(metav1.NamespaceSystem).Create(n.t.Context(), critical, metav1.CreateOptions{}); err != nil {
		n.t.Fatal(err)
	}
	n.gone(fillers[0])
	in{env: n.env, t: n.t, ns: metav1.NamespaceSystem}.runs(n.ns)
}

func disruptionCondition(n in, node string) {
	low, high := n.priority("low", 1), n.priority("high", 1000)
	n.create(pod("victim", on(node), asks("cpu=4"), class(low), func(p *corev1.Pod) { p.Finalizers = []string{"example.com/test"} }))
	n.runs("victim")
	n.create(pod("high", on(node), asks("cpu=4"), class(high)))
	n.eventually("the victim says why it must go", func(ctx context.Context) error {
		p, err := n.CoreV1().Pods(n.ns).Get(ctx, "victim", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if p.DeletionTimestamp == nil || !slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue && c.Reason == corev1.PodReasonPreemptionByScheduler
		}) {
			return fmt.Errorf("deletion timestamp %v, conditions %+v", p.DeletionTimestamp, p.Status.Conditions)
		}
		return nil
	})
	if _, err := n.CoreV1().Pods(n.ns).Patch(n.t.Context(), "victim", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		n.t.Fatal(err)
	}
	n.runs("high")
}

func quantities(kv ...string) corev1.ResourceList {
	p := pod("", asks(kv...))
	return p.Spec.Containers[0].Resources.Requests
}

func limitRange(n in, _ string) {
	ctx, api := n.t.Context(), n.CoreV1().LimitRanges(n.ns)
	item := corev1.LimitRangeItem{
		Type: corev1.LimitTypeContainer, Min: quantities("cpu=50m", "memory=100Mi"), Max: quantities("cpu=500m", "memory=500Mi"),
		Default: quantities("cpu=500m", "memory=500Mi"), DefaultRequest: quantities("cpu=100m", "memory=200Mi"),
	}
	made, err := api.Create(ctx, &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "limits"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{item}}}, metav1.CreateOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	defaulted := func(name string, options ...podOption) corev1.ResourceRequirements {
		n.t.Helper()
		var p *corev1.Pod
		n.eventually("defaults are applied to "+name, func(ctx context.Context) error {
			if p, err = n.CoreV1().Pods(n.ns).Create(ctx, pod(name, options...), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err == nil && len(p.Spec.Containers[0].Resources.Limits) == 0 {
				err = fmt.Errorf("there are none")
			}
			return err
		})
		return p.Spec.Containers[0].Resources
	}
	check := func(what string, got, want corev1.ResourceList) {
		n.t.Helper()
		for name, q := range want {
			if have := got[name]; have.Cmp(q) != 0 {
				n.t.Errorf("%s: %s is %s, want %s", what, name, have.String(), q.String())
			}
		}
	}
	none := defaulted("none")
	check("requests by default", none.Requests, item.DefaultRequest)
	check("limits by default", none.Limits, item.Default)
	some := defaulted("some", asks("cpu=300m"))
	check("own requests", some.Requests, quantities("cpu=300m", "memory=200Mi"))
	above := pod("above", asks("cpu=600m"), func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Limits = quantities("cpu=600m") })
	for name, p := range map[string]*corev1.Pod{"min": pod("below", asks("cpu=10m")), "max": above} {
		if _, err := n.CoreV1().Pods(n.ns).Create(ctx, p, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
			n.t.Errorf("a pod beyond the %s: %v", name, err)
		}
	}
	made.Spec.Limits[0].Min = quantities("cpu=9m", "memory=10Mi")
	if _, err := api.Update(ctx, made, metav1.UpdateOptions{}); err != nil {
		n.t.Fatal(err)
	}
	n.create(pod("below", asks("cpu=10m")))
	if err := api.Delete(ctx, "limits", metav1.DeleteOptions{}); err != nil {
		n.t.Fatal(err)
	}
	n.create(above)
}

func limitRanges(n in, _ string) {
	ctx := n.t.Context()
	other := n.namespace(n.t)
	labels := map[string]string{"test": n.ns}
	selector := metav1.ListOptions{LabelSelector: "test=" + n.ns}
	for _, ns := range []string{n.ns, other.ns} {
		l := &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "limits", Labels: labels}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
			{Type: corev1.LimitTypeContainer, Max: quantities("cpu=500m")}}}}
		if _, err := n.CoreV1().LimitRanges(ns).Create(ctx, l, metav1.CreateOptions{}); err != nil {
			n.t.Fatal(err)
		}
	}
	count := func(ns string) int {
		list, err := n.CoreV1().LimitRanges(ns).List(ctx, selector)
		if err != nil {
			n.t.Fatal(err)
		}
		return len(list.Items)
	}
	if got := count(""); got != 2 {
		n.t.Errorf("in all namespaces there are %d", got)
	}
	patched, err := n.CoreV1().LimitRanges(n.ns).Patch(ctx, "limits", types.StrategicMergePatchType, []byte(`{"metadata":{"labels":{"limits":"static"}},"spec":{"limits":[{"type":"Container","max":{"cpu":"700m"}}]}}`), metav1.PatchOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	if got := patched.Spec.Limits[0].Max[corev1.ResourceCPU]; patched.Labels["limits"] != "static" || got.Cmp(resource.MustParse("700m")) != 0 {
		n.t.Errorf("patched: labels %v, %+v", patched.Labels, patched.Spec)
	}
	if err := n.CoreV1().LimitRanges(n.ns).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "limits=static"}); err != nil {
		n.t.Fatal(err)
	}
	if mine, theirs := count(n.ns), count(other.ns); mine != 0 || theirs != 1 {
		n.t.Errorf("after deleting the collection there are %d here and %d elsewhere", mine, theirs)
	}
}

func priorityClasses(n in, _ string) {
	ctx, api := n.t.Context(), n.SchedulingV1().PriorityClasses()
	names := []string{n.priority("p1", 1), n.priority("p2", 2)}
	list, err := api.List(ctx, metav1.ListOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	for i, name := range names {
		if !slices.ContainsFunc(list.Items, func(c schedulingv1.PriorityClass) bool { return c.Name == name && c.Value == int32(i+1) }) {
			n.t.Errorf("the list has no %s of value %d", name, i+1)
		}
	}
	if c, err := api.Patch(ctx, names[0], types.StrategicMergePatchType, []byte(`{"description":"changed"}`), metav1.PatchOptions{}); err != nil || c.Description != "changed" {
		n.t.Errorf("patching a field that may change: %v", err)
	}
	c, err := api.Get(ctx, names[1], metav1.GetOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	c.Description = "updated"
	if c, err = api.Update(ctx, c, metav1.UpdateOptions{}); err != nil || c.Description != "updated" {
		n.t.Fatalf("updating a field that may change: %v", err)
	}
	if _, err := api.Patch(ctx, names[0], types.StrategicMergePatchType, []byte(`{"value":7}`), metav1.PatchOptions{}); !apierrors.IsInvalid(err) {
		n.t.Errorf("patching the value: %v", err)
	}
	c.Value = 7
	if _, err := api.Update(ctx, c, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		n.t.Errorf("updating the value: %v", err)
	}
	for _, name := range names {
		if err := api.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			n.t.Error(err)
		}
	}
}
