package scheduler_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
	"coracle.dev/coracle/scheduler"
)

func TestMain(m *testing.M) {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// patience is far longer than anything takes, save on a machine that has much else to do.
const patience = time.Minute

// start starts an API server with a scheduler that may do what it may in a
// cluster, and a namespace for the test.
func start(t testing.TB, options ...scheduler.Options) *kubernetes.Clientset {
	t.Helper()
	o := scheduler.Options{}
	for _, given := range options {
		o = given
	}
	cfg, server := apiservertest.Start(t, func(o *apiserver.Options) { o.AuthorizationModes = []string{"RBAC"} })
	as := server.ClientConfig(&user.DefaultInfo{Name: "system:kube-scheduler", Groups: []string{user.AllAuthenticated}})
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "test"}}
	if _, err := c.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- scheduler.Run(ctx, as, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running the scheduler: %v", err)
		}
	})
	return c
}

func node(t testing.TB, c *kubernetes.Clientset, name string, cpu, pods string) {
	t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	n.Status.Capacity = corev1.ResourceList{"cpu": resource.MustParse(cpu), "memory": resource.MustParse("64Gi"), "pods": resource.MustParse(pods)}
	n.Status.Allocatable = n.Status.Capacity
	if _, err := c.CoreV1().Nodes().Create(t.Context(), n, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func pod(t testing.TB, c *kubernetes.Clientset, name, cpu string, change ...func(*corev1.Pod)) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: name}}
	p.Spec.Containers = []corev1.Container{{Name: "c", Image: "image:1"}}
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse(cpu)}
	for _, f := range change {
		f(p)
	}
	p, err := c.CoreV1().Pods("test").Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// await watches a pod until check is content with it.
func await(t testing.TB, c *kubernetes.Clientset, name, what string, check func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w, err := c.CoreV1().Pods("test").Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	var last *corev1.Pod
	for ev := range w.ResultChan() {
		p, is := ev.Object.(*corev1.Pod)
		if !is {
			continue
		}
		if last = p; ev.Type == watch.Deleted {
			last = nil
		}
		if check(last) {
			return last
		}
	}
	t.Fatalf("pod %s never %s; last seen: %+v", name, what, last)
	return nil
}

func bound(p *corev1.Pod) bool { return p != nil && p.Spec.NodeName != "" }

func unschedulable(p *corev1.Pod) *corev1.PodCondition {
	if p == nil {
		return nil
	}
	for i, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

// event waits for an event of the usual profile about a pod, and returns its note.
func event(t *testing.T, c *kubernetes.Clientset, p *corev1.Pod, reason string) string {
	t.Helper()
	return awaitEvent(t, c, p, reason, corev1.DefaultSchedulerName)
}

func awaitEvent(t *testing.T, c *kubernetes.Clientset, p *corev1.Pod, reason, from string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w, err := c.EventsV1().Events("test").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for ev := range w.ResultChan() {
		if e, is := ev.Object.(*eventsv1.Event); is && e.Regarding.UID == p.UID && e.Reason == reason && e.ReportingController == from {
			return e.Note
		}
	}
	t.Fatalf("no event %s of %s about pod %s", reason, from, p.Name)
	return ""
}

func TestBind(t *testing.T) {
	c := start(t)
	p := pod(t, c, "p", "100m")
	await(t, c, "p", "was unschedulable", func(p *corev1.Pod) bool { return unschedulable(p) != nil })
	if got := event(t, c, p, "FailedScheduling"); got != "no nodes available to schedule pods" {
		t.Errorf("FailedScheduling says %q", got)
	}
	node(t, c, "n", "4", "10")
	p = await(t, c, "p", "was bound", bound)
	if got, want := event(t, c, p, "Scheduled"), "Successfully assigned test/p to n"; got != want {
		t.Errorf("Scheduled says %q, want %q", got, want)
	}
	if unschedulable(p) != nil {
		t.Errorf("the bound pod has the conditions %+v", p.Status.Conditions)
	}
}

// TestLead: of two schedulers one waits, and takes over when the other ends.
func TestLead(t *testing.T) {
	cfg, _ := apiservertest.Start(t)
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"test", "kube-system"} {
		_, err := c.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	node(t, c, "n", "4", "10")
	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- scheduler.Run(ctx, cfg, scheduler.Options{LeaderElect: true}) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("running the scheduler: %v", err)
			}
		}
	}
	stopFirst := run()
	pod(t, c, "p", "100m")
	await(t, c, "p", "was bound", bound)
	stopSecond := run()
	stopFirst()
	pod(t, c, "q", "100m")
	await(t, c, "q", "was bound by the second", bound)
	stopSecond()
}

func TestWaitForRoom(t *testing.T) {
	c := start(t)
	node(t, c, "n", "1", "10")
	pod(t, c, "first", "700m")
	await(t, c, "first", "was bound", bound)
	second := pod(t, c, "second", "700m")
	p := await(t, c, "second", "was unschedulable", func(p *corev1.Pod) bool { return unschedulable(p) != nil })
	want := "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
	if got := unschedulable(p); got.Reason != corev1.PodReasonUnschedulable || got.Message != want {
		t.Errorf("condition %s: %q, want %q", got.Reason, got.Message, want)
	}
	if got := event(t, c, second, "FailedScheduling"); got != want {
		t.Errorf("FailedScheduling says %q", got)
	}
	if err := c.CoreV1().Pods("test").Delete(t.Context(), "first", *metav1.NewDeleteOptions(0)); err != nil {
		t.Fatal(err)
	}
	await(t, c, "second", "was bound", bound)
}

func TestGatesAndCordon(t *testing.T) {
	c := start(t)
	node(t, c, "n", "1", "10")
	pod(t, c, "p", "0", func(p *corev1.Pod) { p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/wait"}} })
	p := await(t, c, "p", "was gated", func(p *corev1.Pod) bool { return unschedulable(p) != nil })
	if got := unschedulable(p).Reason; got != corev1.PodReasonSchedulingGated {
		t.Errorf("reason %s", got)
	}
	cordon := func(on bool) {
		t.Helper()
		patch := fmt.Sprintf(`{"spec":{"unschedulable":%v}}`, on)
		if _, err := c.CoreV1().Nodes().Patch(t.Context(), "n", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	cordon(true)
	if _, err := c.CoreV1().Pods("test").Patch(t.Context(), "p", types.MergePatchType, []byte(`{"spec":{"schedulingGates":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, c, "p", "was turned down", func(p *corev1.Pod) bool {
		got := unschedulable(p)
		return got != nil && got.Reason == corev1.PodReasonUnschedulable
	})
	cordon(false)
	await(t, c, "p", "was bound", bound)
}

func TestPreempt(t *testing.T) {
	c := start(t)
	node(t, c, "n", "1", "10")
	pod(t, c, "low", "700m")
	await(t, c, "low", "was bound", bound)
	class := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "high"}, Value: 1000}
	if _, err := c.SchedulingV1().PriorityClasses().Create(t.Context(), class, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	high := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: "high"}}
	high.Spec.PriorityClassName = "high"
	high.Spec.Containers = []corev1.Container{{Name: "c", Image: "image:1"}}
	high.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("700m")}
	awaitObject(t, "a class that the server's own cache has", func(ctx context.Context) bool {
		_, err := c.CoreV1().Pods("test").Create(ctx, high, metav1.CreateOptions{})
		return err == nil
	})
	await(t, c, "high", "was nominated", func(p *corev1.Pod) bool { return p != nil && p.Status.NominatedNodeName == "n" })
	pod(t, c, "thief", "300m") // for which there is room beside the victim, but not beside whom it makes way for
	thief := await(t, c, "thief", "was turned down", func(p *corev1.Pod) bool { return unschedulable(p) != nil })
	if bound(thief) {
		t.Errorf("the pod went to %s, whose room is kept", thief.Spec.NodeName)
	}
	low := await(t, c, "low", "was preempted", func(p *corev1.Pod) bool { return p == nil || p.DeletionTimestamp != nil })
	if low != nil {
		if got := event(t, c, low, "Preempted"); got == "" {
			t.Error("the event Preempted says nothing")
		}
		if err := c.CoreV1().Pods("test").Delete(t.Context(), "low", *metav1.NewDeleteOptions(0)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, c, "high", "was bound", bound)
	await(t, c, "thief", "was bound", bound)
}

// TestMany binds 1,000 pods to 100 nodes.
func TestMany(t *testing.T) {
	const nodes, pods = 100, 1000
	c := start(t)
	for i := range nodes {
		node(t, c, fmt.Sprintf("n%02d", i), "32", "110")
	}
	begin := time.Now()
	for worker := range 8 {
		go func() {
			for i := worker; i < pods; i += 8 {
				pod(t, c, fmt.Sprintf("p%d", i), "100m")
			}
		}()
	}
	perNode := map[string]int{}
	seen := map[types.UID]bool{}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	for len(seen) < pods && ctx.Err() == nil { // a watch may end when it is slow
		w, err := c.CoreV1().Pods("test").Watch(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for ev := range w.ResultChan() {
			if p, is := ev.Object.(*corev1.Pod); is && bound(p) && !seen[p.UID] {
				seen[p.UID] = true
				perNode[p.Spec.NodeName]++
			}
			if len(seen) == pods {
				break
			}
		}
		w.Stop()
	}
	if len(seen) < pods {
		t.Fatalf("%d of %d pods were bound", len(seen), pods)
	}
	took := time.Since(begin)
	t.Logf("created and bound %d pods in %v: %.0f/s", pods, took, pods/took.Seconds())
	for name, n := range perNode {
		if n > 2*pods/nodes { // scores are whole percents, so it is not quite even
			t.Errorf("node %s has %d of %d pods", name, n, pods)
		}
	}
}

// awaitObject asks until check is content.
func awaitObject(t testing.TB, what string, check func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; !check(ctx); <-tick.C {
		if ctx.Err() != nil {
			t.Fatalf("there never was %s", what)
		}
	}
}
