package node

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"coracle.dev/coracle/nodeagent/crifake"
)

// halfway is a runtime whose network may be missing.
type halfway struct {
	*crifake.Runtime
	network bool
}

func (r *halfway) Status(context.Context, *runtimev1.StatusRequest, ...grpc.CallOption) (*runtimev1.StatusResponse, error) {
	return &runtimev1.StatusResponse{Status: &runtimev1.RuntimeStatus{Conditions: []*runtimev1.RuntimeCondition{
		{Type: "RuntimeReady", Status: true}, {Type: "NetworkReady", Status: r.network, Reason: "NetworkPluginNotReady", Message: "no network"},
	}}}, nil
}

func newKeeper(t *testing.T, change ...func(*Config)) (*keeper, *fake.Clientset, *halfway) {
	t.Helper()
	capacity, allocatable, err := Capacity(t.TempDir(), 110)
	if err != nil {
		t.Fatal(err)
	}
	cri := &halfway{Runtime: crifake.New()}
	cri.AddImage("docker.io/library/app:latest")
	client := fake.NewClientset()
	c := Config{
		Name: "n", Hostname: "h", IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Labels: map[string]string{"l": "v"}, Port: 10250,
		PodCIDR: netip.MustParsePrefix("10.1.0.0/24"), RootDir: t.TempDir(), Capacity: capacity, Allocatable: allocatable, Client: client, CRI: cri.crI(), Images: cri.Images(),
	}
	for _, f := range change {
		f(&c)
	}
	return &keeper{Config: c, info: Info()}, client, cri
}

func (r *halfway) crI() runtimev1.RuntimeServiceClient { return statusOnly{r.Runtime.CRI(), r} }

// statusOnly is the fake with another Status.
type statusOnly struct {
	runtimev1.RuntimeServiceClient
	r *halfway
}

func (s statusOnly) Status(ctx context.Context, q *runtimev1.StatusRequest, o ...grpc.CallOption) (*runtimev1.StatusResponse, error) {
	return s.r.Status(ctx, q, o...)
}

func TestRegisterAndBecomeReady(t *testing.T) {
	ready := 0
	k, client, cri := newKeeper(t, func(c *Config) { c.OnReady = func() { ready++ } })
	if err := k.tryRegister(t.Context()); err != nil {
		t.Fatal(err)
	}
	get := func() *corev1.Node {
		t.Helper()
		n, err := client.CoreV1().Nodes().Get(t.Context(), "n", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := get()
	if n.Labels["kubernetes.io/hostname"] != "h" || n.Labels["kubernetes.io/os"] != "linux" || n.Labels["l"] != "v" || n.Spec.PodCIDR != "10.1.0.0/24" {
		t.Errorf("node: %+v %+v", n.Labels, n.Spec)
	}
	if diff := cmp.Diff([]corev1.NodeAddress{{Type: "InternalIP", Address: "192.0.2.1"}, {Type: "Hostname", Address: "h"}}, n.Status.Addresses); diff != "" {
		t.Error(diff)
	}
	if i := n.Status.NodeInfo; i.ContainerRuntimeVersion != "fake://1.0.0" || i.KernelVersion == "" || i.OperatingSystem != "linux" || i.BootID == "" {
		t.Errorf("info: %+v", i)
	}
	if len(n.Status.Images) != 1 || n.Status.DaemonEndpoints.KubeletEndpoint.Port != 10250 {
		t.Errorf("status: %+v", n.Status)
	}
	last := n.Status.Conditions[len(n.Status.Conditions)-1]
	want := "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:no network"
	if last.Type != corev1.NodeReady || last.Status != corev1.ConditionFalse || last.Reason != "KubeletNotReady" || last.Message != want {
		t.Errorf("Ready: %+v", last)
	}
	cri.network = true
	for range 2 {
		if err := k.update(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	n = get()
	last = n.Status.Conditions[len(n.Status.Conditions)-1]
	if last.Status != corev1.ConditionTrue || last.Reason != "KubeletReady" || last.Message != "kubelet is posting ready status" || ready != 1 {
		t.Errorf("Ready: %+v, told %d times", last, ready)
	}
	writes := 0
	for _, a := range client.Actions() {
		if a.GetVerb() == "patch" {
			writes++
		}
	}
	if writes != 1 {
		t.Errorf("the status was written %d times for one change", writes)
	}
}

func TestTakeUp(t *testing.T) {
	k, client, _ := newKeeper(t, func(c *Config) { c.Taints = []corev1.Taint{{Key: "t", Effect: "NoSchedule"}} })
	old := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"mine": "1", "l": "old"}}, Spec: corev1.NodeSpec{PodCIDR: "10.9.0.0/24", PodCIDRs: []string{"10.9.0.0/24"}}}
	if _, err := client.CoreV1().Nodes().Create(t.Context(), old, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := k.tryRegister(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, _ := client.CoreV1().Nodes().Get(t.Context(), "n", metav1.GetOptions{})
	if n.Labels["mine"] != "1" || n.Labels["l"] != "v" || n.Spec.PodCIDR != "10.9.0.0/24" || len(n.Spec.Taints) != 0 {
		t.Errorf("node: %+v %+v", n.Labels, n.Spec)
	}
}

// TestPodRangeInUse: a range that another node has is left to it.
func TestPodRangeInUse(t *testing.T) {
	k, client, _ := newKeeper(t)
	other := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: corev1.NodeSpec{PodCIDR: "10.1.0.0/24"}}
	if _, err := client.CoreV1().Nodes().Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := k.initial(t.Context()); n.Spec.PodCIDR != "" {
		t.Errorf("took %s", n.Spec.PodCIDR)
	}
}

// TestDeletedNode comes back.
func TestDeletedNode(t *testing.T) {
	k, client, _ := newKeeper(t)
	if err := k.tryRegister(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().Nodes().Delete(t.Context(), "n", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := k.update(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Nodes().Get(t.Context(), "n", metav1.GetOptions{}); err != nil {
		t.Errorf("the node: %v", err)
	}
}

func TestLease(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	k, client, _ := newKeeper(t)
	done := make(chan error, 1)
	go func() { done <- Run(ctx, k.Config) }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		l, err := client.CoordinationV1().Leases(leaseNamespace).Get(t.Context(), "n", metav1.GetOptions{})
		if err == nil {
			if *l.Spec.HolderIdentity != "n" || *l.Spec.LeaseDurationSeconds != 40 || len(l.OwnerReferences) != 1 || l.OwnerReferences[0].Kind != "Node" {
				t.Errorf("lease: %+v %+v", l.Spec, l.OwnerReferences)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no lease: %v", err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
