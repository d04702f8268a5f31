package device

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// world has the nodes a and b: a with one small device, b with a small and a large one.
func world(t *testing.T, claims ...*resourcev1.ResourceClaim) *snapshot.Cluster {
	t.Helper()
	c := snapshot.NewCluster()
	c.SetDeviceClass(&resourcev1.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: "gpu"}})
	for name, sizes := range map[string][]string{"a": {"small"}, "b": {"small", "large"}} {
		c.SetNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
		s := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: "slice-" + name}}
		s.Spec = resourcev1.ResourceSliceSpec{Driver: "gpu.example.com", NodeName: &name, Pool: resourcev1.ResourcePool{Name: name, ResourceSliceCount: 1}}
		for _, size := range sizes {
			s.Spec.Devices = append(s.Spec.Devices, resourcev1.Device{Name: size, Attributes: map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{"size": {StringValue: &size}}})
		}
		c.SetSlice(s)
	}
	for _, claim := range claims {
		c.SetDeviceClaim(claim)
	}
	return c
}

func claim(name, size string) *resourcev1.ResourceClaim {
	c := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), ResourceVersion: "5"}}
	request := &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 1}
	if size != "" {
		request.Selectors = []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: fmt.Sprintf(`device.attributes["gpu.example.com"].size == %q`, size)}}}
	}
	c.Spec.Devices.Requests = []resourcev1.DeviceRequest{{Name: "r", Exactly: request}}
	return c
}

func pod(name string, claims ...string) *snapshot.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)}}
	for _, c := range claims {
		p.Spec.ResourceClaims = append(p.Spec.ResourceClaims, corev1.PodResourceClaim{Name: c, ResourceClaimName: &c})
	}
	return snapshot.NewPod(p)
}

var plugins = []framework.Plugin{DynamicResources()}

func decide(c *snapshot.Cluster, p *snapshot.Pod) string {
	r := framework.Schedule(plugins, c, p, framework.Choice{})
	if r.Node == "" {
		return r.Failure.Message()
	}
	return r.Node
}

func TestDecisions(t *testing.T) {
	lost := claim("lost", "")
	lost.Spec.Devices.Requests[0].Exactly.DeviceClassName = "none"
	gone := claim("gone", "")
	gone.DeletionTimestamp = &metav1.Time{}
	wrong := claim("wrong", "")
	wrong.Spec.Devices.Requests[0].Exactly.Selectors = []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: "nonsense("}}}
	c := world(t, claim("any", ""), claim("large", "large"), claim("large2", "large"), claim("huge", "huge"), lost, gone)
	template := pod("t")
	name := "template"
	template.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "x", ResourceClaimTemplateName: &name}}
	for _, tc := range []struct {
		pod  *snapshot.Pod
		want string
	}{
		{pod("p"), "a"},
		{pod("p", "any"), "a"},
		{pod("p", "large"), "b"},
		{pod("p", "large", "any"), "b"},
		{pod("p", "large", "large2"), "0/2 nodes are available: 2 cannot allocate all claims."},
		{pod("p", "huge"), "0/2 nodes are available: 2 cannot allocate all claims."},
		{pod("p", "none"), `0/2 nodes are available: resourceclaim.resource.k8s.io "none" not found.`},
		{pod("p", "lost"), "0/2 nodes are available: request r: device class none does not exist."},
		{pod("p", "gone"), `0/2 nodes are available: resourceclaim "gone" is being deleted.`},
		{template, `0/2 nodes are available: pod "default/t": ` + "ResourceClaim not created yet."},
	} {
		if got := decide(c, tc.pod); got != tc.want {
			t.Errorf("pod with claims %v\ngot  %s\nwant %s", tc.pod.Spec.ResourceClaims, got, tc.want)
		}
	}
}

// TestReserve: two pods do not get one device; a claim is shared; what was taken comes back.
func TestReserve(t *testing.T) {
	c := world(t, claim("first", "large"), claim("second", "large"))
	p := pod("p", "first")
	took, status := framework.Reserve(plugins, c, p, "b")
	if status != nil || len(took) != 1 || len(took[0].Writes) != 2 {
		t.Fatalf("reserving: %v, %+v", status, took)
	}
	if got := decide(c, pod("q", "second")); got != "0/2 nodes are available: 2 cannot allocate all claims." {
		t.Errorf("another claim for the same device: %s", got)
	}
	held := took[0].Writes[0].Object.(*resourcev1.ResourceClaim).DeepCopy()
	held.ResourceVersion = "6"
	c.SetDeviceClaim(held) // the watch shows the finalizer before the allocation
	if got := decide(c, pod("q", "second")); got == "b" {
		t.Error("the device was given away while the claim got its finalizer")
	}
	if done, _, err := framework.Settled(took); !done || err != nil {
		t.Errorf("not settled: %v", err)
	}
	shared, status := framework.Reserve(plugins, c, pod("r", "first"), "b")
	if status != nil || len(shared[0].Writes) == 0 {
		t.Fatalf("sharing: %v", status)
	}
	last := shared[0].Writes[len(shared[0].Writes)-1].Object.(*resourcev1.ResourceClaim)
	if len(last.Status.ReservedFor) != 2 {
		t.Errorf("a shared claim is reserved for %v", last.Status.ReservedFor)
	}
	framework.Release(shared)
	if got := len(c.DeviceClaim("default/first").Status.ReservedFor); got != 1 {
		t.Errorf("after one of two pods gave it back the claim is reserved for %d", got)
	}
	framework.Release(took)
	if got := decide(c, pod("q", "second")); got != "b" {
		t.Errorf("after it was given back: %s", got)
	}
}

// TestAllocated keeps a pod to where its claim is.
func TestAllocated(t *testing.T) {
	c := world(t, claim("first", "large"))
	took, _ := framework.Reserve(plugins, c, pod("p", "first"), "b")
	done := took[0].Writes[1].Object.(*resourcev1.ResourceClaim).DeepCopy()
	done.ResourceVersion = "9"
	c.SetDeviceClaim(done)
	framework.Release(took) // which no longer matters
	if got := decide(c, pod("q", "first")); got != "b" {
		t.Errorf("the claim is on b, and the pod goes to %s", got)
	}
	c.RemoveNode("b")
	if got, want := decide(c, pod("q", "first")), "0/1 nodes are available: 1 resourceclaim not available on the node."; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	old := claim("first", "large")
	c.SetDeviceClaim(old)
	if c.DeviceClaim("default/first").Status.Allocation == nil {
		t.Error("an older state of a claim was taken for news")
	}
}

// TestMerge: somebody else wrote the claim meanwhile.
func TestMerge(t *testing.T) {
	c := world(t, claim("first", "large"))
	took, _ := framework.Reserve(plugins, c, pod("p", "first"), "b")
	w := took[0].Writes[1]
	newer := claim("first", "large")
	newer.Labels = map[string]string{"new": "yes"}
	if o, err := w.Merge(newer); err != nil || o.(*resourcev1.ResourceClaim).Status.Allocation == nil || o.GetLabels()["new"] != "yes" {
		t.Errorf("merged into %+v (%v)", o, err)
	}
	if _, err := w.Merge(w.Object); err == nil {
		t.Error("a claim that got allocated elsewhere was allocated again")
	}
}

// TestGiveBack: an allocation goes with the last pod that was to have it.
func TestGiveBack(t *testing.T) {
	c := world(t, claim("first", "large"))
	p := pod("p", "first")
	took, _ := framework.Reserve(plugins, c, p, "b")
	mine := took[0].Writes[1].Object.(*resourcev1.ResourceClaim)
	undo := took[0].Undo[0].Merge
	if o, err := undo(mine); err != nil || o.(*resourcev1.ResourceClaim).Status.Allocation != nil || len(o.(*resourcev1.ResourceClaim).Status.ReservedFor) != 0 {
		t.Errorf("given back: %+v (%v)", o, err)
	}
	shared := taken(mine, nil, pod("q", "first"))
	if o, err := undo(shared); err != nil || o.(*resourcev1.ResourceClaim).Status.Allocation == nil || len(o.(*resourcev1.ResourceClaim).Status.ReservedFor) != 1 {
		t.Errorf("given back while another has it: %+v (%v)", o, err)
	}
	if o, err := undo(claim("first", "large")); o != nil || err != nil {
		t.Errorf("nothing was taken, and given back is %+v (%v)", o, err)
	}
}

func TestBindingConditions(t *testing.T) {
	c := world(t, claim("first", "large"))
	took, _ := framework.Reserve(plugins, c, pod("p", "first"), "b")
	o := took[0].Writes[1].Object.(*resourcev1.ResourceClaim).DeepCopy()
	o.ResourceVersion = "9"
	r := &o.Status.Allocation.Devices.Results[0]
	r.BindingConditions, r.BindingFailureConditions = []string{"Attached"}, []string{"Broken"}
	c.SetDeviceClaim(o)
	check := func(version string, status []metav1.Condition, wantDone, wantErr bool) {
		t.Helper()
		o := o.DeepCopy()
		o.ResourceVersion = version
		o.Status.Devices = []resourcev1.AllocatedDeviceStatus{{Driver: r.Driver, Pool: r.Pool, Device: r.Device, Conditions: status}}
		c.SetDeviceClaim(o)
		if done, _, err := framework.Settled(took); done != wantDone || (err != nil) != wantErr {
			t.Errorf("with %+v: done %v, error %v", status, done, err)
		}
	}
	check("10", nil, false, false)
	check("11", []metav1.Condition{{Type: "Attached", Status: metav1.ConditionTrue}}, true, false)
	check("12", []metav1.Condition{{Type: "Broken", Status: metav1.ConditionTrue}}, false, true)
}
