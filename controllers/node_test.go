package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"coracle.dev/coracle/controllers"
	"coracle.dev/coracle/controllers/podgc"
)

// agent keeps a node alive until stop is called: it reports Ready once, and
// renews the lease.
func (e *env) agent(name string) (stop func()) {
	e.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := e.Create(e.t.Context(), n); err != nil && !apierrors.IsAlreadyExists(err) {
		e.t.Fatal(err)
	}
	ready := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":%q}]}}`, time.Now().UTC().Format(time.RFC3339))
	if err := e.Status().Patch(e.t.Context(), n, client.RawPatch(types.MergePatchType, []byte(ready))); err != nil {
		e.t.Fatal(err)
	}
	leases := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: corev1.NamespaceNodeLease}}
	if err := e.Create(e.t.Context(), leases); err != nil && !apierrors.IsAlreadyExists(err) {
		e.t.Fatal(err)
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: name}}
	e.create(lease)
	ctx, cancel := context.WithCancel(e.t.Context())
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			now := metav1.NowMicro()
			lease.Spec.RenewTime = &now
			if err := e.Update(ctx, lease); err != nil && ctx.Err() == nil {
				e.t.Errorf("renewing the lease: %v", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return cancel
}

func (e *env) taints(node string, want ...string) {
	e.t.Helper()
	e.eventually(fmt.Sprintf("node %s has the taints %v", node, want), func() error {
		var n corev1.Node
		if err := e.Get(e.t.Context(), types.NamespacedName{Name: node}, &n); err != nil {
			return err
		}
		var got []string
		for _, t := range n.Spec.Taints {
			got = append(got, t.ToString())
		}
		slices.Sort(got)
		return expect("taints", fmt.Sprint(got), fmt.Sprint(want))
	}, &corev1.NodeList{})
}

// TestSilentNode follows a node from Ready to silent and back. Another one
// stays alive, so that this is no failure of everything.
func TestSilentNode(t *testing.T) {
	e := start(t, "endpoints-controller") // any
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- controllers.Run(ctx, e.cfg, controllers.Options{
			Controllers: []string{"node-lifecycle-controller", "taint-eviction-controller"}, NodeMonitorGracePeriod: 2 * time.Second})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	if err := e.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}}); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	stopA := e.agent("a")
	e.agent("b")
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "p"}, Spec: template().Spec}
	p.Spec.NodeName = "a"
	p.Spec.Tolerations = []corev1.Toleration{{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(2))}}
	e.create(p)
	e.markReady(p, 1)
	e.taints("a")
	stopA()
	e.taints("a", "node.kubernetes.io/unreachable:NoExecute", "node.kubernetes.io/unreachable:NoSchedule")
	e.get("p", p)
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status != corev1.ConditionFalse {
			t.Errorf("the pod of a silent node is ready: %+v", c)
		}
	}
	if p.DeletionTimestamp != nil {
		t.Error("the pod was deleted before its time")
	}
	e.eventually("the pod is evicted", func() error {
		err := e.Get(t.Context(), client.ObjectKeyFromObject(p), p)
		if err == nil && p.DeletionTimestamp == nil {
			return errors.New("it is not")
		}
		return client.IgnoreNotFound(err)
	}, &corev1.PodList{})
	if !slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget }) {
		t.Errorf("the pod does not say why: %+v", p.Status.Conditions)
	}
	var n corev1.Node
	if err := e.Get(t.Context(), types.NamespacedName{Name: "a"}, &n); err != nil {
		t.Fatal(err)
	}
	ready := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":%q}]}}`, time.Now().UTC().Format(time.RFC3339))
	if err := e.Status().Patch(t.Context(), &n, client.RawPatch(types.MergePatchType, []byte(ready))); err != nil {
		t.Fatal(err)
	}
	e.taints("a")
}

// TestPodsOfAGoneNode shortens the quarantine.
func TestPodsOfAGoneNode(t *testing.T) {
	e := start(t, "endpoints-controller") // any
	mgr, err := manager.New(e.cfg, manager.Options{Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)}})
	if err != nil {
		t.Fatal(err)
	}
	gc := podgc.New(mgr)
	gc.Quarantine, gc.Threshold = 300*time.Millisecond, 1
	if err := gc.SetupWithManager(mgr); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	pod := func(name, node string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: name}, Spec: template().Spec}
		p.Spec.NodeName = node
		e.create(p)
		return p
	}
	lost, stays := pod("lost", "nowhere"), pod("stays", "node")
	e.gone(lost)
	for _, name := range []string{"x", "y"} {
		p := pod(name, "node")
		if err := e.Status().Patch(t.Context(), p, client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Succeeded"}}`))); err != nil {
			t.Fatal(err)
		}
	}
	e.get("stays", stays)
	if stays.DeletionTimestamp != nil {
		t.Error("the pod of a node that exists was deleted")
	}
	e.delete(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}})
	e.gone(stays)
}

func TestAggregatedClusterRole(t *testing.T) {
	e := start(t, "clusterrole-aggregation-controller")
	top := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "top"}, AggregationRule: &rbacv1.AggregationRule{
		ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"to": "top"}}}}}
	e.create(top)
	part := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "part", Labels: map[string]string{"to": "top"}},
		Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}}
	e.create(part)
	rules := func(want int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		w, err := e.Watch(ctx, &rbacv1.ClusterRoleList{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		for ev := range w.ResultChan() {
			if r, is := ev.Object.(*rbacv1.ClusterRole); is && r.Name == "top" && len(r.Rules) == want {
				return
			}
		}
		t.Fatalf("the aggregated role never had %d rules", want)
	}
	rules(1)
	e.delete(part)
	rules(0)
}

func TestNodeRanges(t *testing.T) {
	e := start(t, "endpoints-controller") // any; it makes the node "node"
	taken := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "taken"}, Spec: corev1.NodeSpec{PodCIDR: "10.9.0.0/24", PodCIDRs: []string{"10.9.0.0/24"}}}
	e.create(taken)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- controllers.Run(ctx, e.cfg, controllers.Options{Controllers: []string{"node-ipam-controller"}, ClusterCIDR: netip.MustParsePrefix("10.9.0.0/16")})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for i := range 5 {
		e.create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", i)}})
	}
	e.eventually("each node has a range of its own", func() error {
		var nodes corev1.NodeList
		if err := e.List(t.Context(), &nodes); err != nil {
			return err
		}
		seen := map[string]string{}
		for _, n := range nodes.Items {
			if n.Spec.PodCIDR == "" || seen[n.Spec.PodCIDR] != "" {
				return fmt.Errorf("node %s has %q, which %q has too", n.Name, n.Spec.PodCIDR, seen[n.Spec.PodCIDR])
			}
			seen[n.Spec.PodCIDR] = n.Name
		}
		return nil
	}, &corev1.NodeList{})
}
