package nodeagent

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"coracle.dev/coracle/apiserver/apiservertest"
	"coracle.dev/coracle/nodeagent/crifake"
)

// world is an API server and an agent on a fake runtime.
type world struct {
	t       *testing.T
	ctx     context.Context
	client  kubernetes.Interface
	cri     *fake // nil on a real runtime
	real    bool
	options Options
	stop    func()
	start   func()
}

const imageName = "docker.io/library/app:latest"

// begin sets how the agent is started and stopped.
func (w *world) begin(run func(ctx context.Context) error) {
	w.stop = func() {}
	w.start = func() {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		w.stop = func() {
			cancel()
			if err := <-done; err != nil {
				w.t.Errorf("agent: %v", err)
			}
			w.stop = func() {}
		}
	}
}

func (w *world) namespaces() {
	w.t.Helper()
	for _, ns := range []string{"default", "kube-node-lease", "kube-system"} {
		_, err := w.client.CoreV1().Namespaces().Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			w.t.Fatal(err)
		}
	}
}

// eventually tries until it works.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after 20 s: %s", what)
		}
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cfg, _ := apiservertest.Start(t)
	client := kubernetes.NewForConfigOrDie(cfg)
	w := newFakeWorld(t, client)
	o := w.options
	w.begin(func(ctx context.Context) error {
		return RunOn(ctx, cfg, o, Runtime{CRI: w.cri.CRI(), Images: w.cri.Images()})
	})
	w.namespaces()
	w.start()
	return w
}

// newFakeWorld is a world whose agent is still to be made.
func newFakeWorld(t *testing.T, client kubernetes.Interface) *world {
	w := &world{t: t, ctx: t.Context(), client: client, cri: &fake{crifake.New()}}
	w.cri.AddImage(imageName)
	w.options = Options{
		ClusterName: "test-" + strings.ToLower(t.Name()), NodeName: "n1", RootDir: t.TempDir(), RunDir: t.TempDir(),
		NodeIP: netip.MustParseAddr("192.0.2.1"), PodCIDR: netip.MustParsePrefix("10.250.0.0/24"),
		ClusterDNS: []netip.Addr{netip.MustParseAddr("10.96.0.10")},
	}
	o := w.options
	t.Cleanup(func() {
		w.stop()
		if err := Teardown(context.Background(), o); err != nil {
			t.Errorf("tearing down: %v", err)
		}
	})
	return w
}

func appPod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}
	p.Spec.NodeName = "n1"
	p.Spec.AutomountServiceAccountToken = new(bool)
	p.Spec.TerminationGracePeriodSeconds = ptr.To[int64](1)
	p.Spec.Containers = []corev1.Container{{Name: name, Image: "app", ImagePullPolicy: corev1.PullIfNotPresent}}
	for _, f := range change {
		f(p)
	}
	return p
}

func (w *world) create(p *corev1.Pod) *corev1.Pod {
	w.t.Helper()
	out, err := w.client.CoreV1().Pods(p.Namespace).Create(w.ctx, p, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatalf("creating pod: %v", err)
	}
	return out
}

// until watches a pod until it is as wanted.
func (w *world) until(name, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
	defer cancel()
	watch, err := w.client.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		w.t.Fatal(err)
	}
	defer watch.Stop()
	last, err := w.client.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		last, err = nil, nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	for !ok(last) {
		select {
		case e, open := <-watch.ResultChan():
			if !open {
				w.t.Fatalf("watch of pod %s ended", name)
			}
			last, _ = e.Object.(*corev1.Pod)
			if e.Type == "DELETED" {
				last = nil
			}
		case <-ctx.Done():
			w.t.Fatalf("pod %s is not %s: %+v\nevents: %s", name, what, last, strings.Join(w.events(name), "\n"))
		}
	}
	return last
}

func (w *world) events(name string) []string {
	list, err := w.client.CoreV1().Events("default").List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for _, e := range list.Items {
		if e.InvolvedObject.Name == name {
			out = append(out, e.Reason+": "+e.Message)
		}
	}
	return out
}

func ready(p *corev1.Pod) bool {
	if p == nil {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func gone(p *corev1.Pod) bool { return p == nil }

// both runs a contract on the fake and on containerd.
func both(t *testing.T, contract func(t *testing.T, w *world)) {
	t.Run("fake", func(t *testing.T) { contract(t, newWorld(t)) })
	t.Run("containerd", func(t *testing.T) { contract(t, newRealWorld(t)) })
}

func TestPodRunsAndGoes(t *testing.T) { both(t, podRunsAndGoes) }

func podRunsAndGoes(t *testing.T, w *world) {
	w.create(appPod("a"))
	begun := time.Now()
	p := w.until("a", "ready", ready)
	t.Logf("ready after %v", time.Since(begun))
	if p.Status.Phase != corev1.PodRunning || p.Status.PodIP == "" || p.Status.HostIP != w.options.NodeIP.String() || p.Status.StartTime == nil {
		t.Errorf("status: %+v", p.Status)
	}
	if s := p.Status.ContainerStatuses[0]; s.State.Running == nil || !strings.HasPrefix(s.ContainerID, "containerd://") || s.Started == nil || !*s.Started {
		t.Errorf("container status: %+v", s)
	}
	node, err := w.client.CoreV1().Nodes().Get(w.ctx, "n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	last := node.Status.Conditions[len(node.Status.Conditions)-1]
	if last.Type != corev1.NodeReady || last.Status != corev1.ConditionTrue || last.Reason != "KubeletReady" {
		t.Errorf("last condition of the node: %+v", last)
	}
	if err := w.client.CoreV1().Pods("default").Delete(w.ctx, "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.until("a", "gone", gone)
	want := []string{"Pulled: Container image \"app\" already present on machine", "Created: Container created", "Started: Container started", "Killing: Stopping container a"}
	deadline := time.Now().Add(5 * time.Second)
	for {
		have := strings.Join(w.events("a"), "\n")
		missing := ""
		for _, e := range want {
			if !strings.Contains(have, e) {
				missing = e
			}
		}
		if missing == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no event %q among:\n%s", missing, have)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
