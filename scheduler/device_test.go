package scheduler_test

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/scheduler"
)

// TestDevices: of two claims for one device one gets it; the other's pod follows when the device is given back.
func TestDevices(t *testing.T) {
	c := start(t)
	node(t, c, "a", "4", "10")
	node(t, c, "b", "4", "10")
	ctx, r := t.Context(), c.ResourceV1()
	if _, err := r.DeviceClasses().Create(ctx, &resourcev1.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: "gpu"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	where := "b"
	slice := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: resourcev1.ResourceSliceSpec{
		Driver: "gpu.example.com", NodeName: &where, Pool: resourcev1.ResourcePool{Name: "b", ResourceSliceCount: 1}, Devices: []resourcev1.Device{{Name: "gpu-0"}}}}
	if _, err := r.ResourceSlices().Create(ctx, slice, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second"} {
		claim := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: name}}
		claim.Spec.Devices.Requests = []resourcev1.DeviceRequest{{Name: "r", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu"}}}
		if _, err := r.ResourceClaims("test").Create(ctx, claim, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	takes := func(claim string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "c", ResourceClaimName: &claim}}
		}
	}
	first := pod(t, c, "first", "100m", takes("first"))
	if p := await(t, c, "first", "was bound", bound); p.Spec.NodeName != "b" {
		t.Errorf("the pod went to %s, away from its device", p.Spec.NodeName)
	}
	claim, err := r.ResourceClaims("test").Get(ctx, "first", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if claim.Status.Allocation == nil || len(claim.Status.ReservedFor) != 1 || claim.Status.ReservedFor[0].UID != first.UID || len(claim.Finalizers) != 1 {
		t.Errorf("the claim of a bound pod: finalizers %v, %+v", claim.Finalizers, claim.Status)
	}
	pod(t, c, "sharing", "100m", takes("first"))
	if p := await(t, c, "sharing", "was bound", bound); p.Spec.NodeName != "b" {
		t.Errorf("a pod that shares the claim went to %s", p.Spec.NodeName)
	}
	pod(t, c, "second", "100m", takes("second"))
	p := await(t, c, "second", "was unschedulable", func(p *corev1.Pod) bool { return unschedulable(p) != nil })
	if got, want := unschedulable(p).Message, "0/2 nodes are available: 2 cannot allocate all claims. no new claims to deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	awaitObject(t, "a device given back", func(ctx context.Context) bool {
		claim, err := r.ResourceClaims("test").Get(ctx, "first", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		claim.Status.Allocation, claim.Status.ReservedFor = nil, nil
		_, err = r.ResourceClaims("test").UpdateStatus(ctx, claim, metav1.UpdateOptions{})
		return err == nil
	})
	await(t, c, "second", "was bound", bound)
}

// TestDevicesGivenBack: a pod that cannot be bound in the end does not keep its device.
func TestDevicesGivenBack(t *testing.T) {
	c := start(t, scheduler.Options{BindTimeout: time.Second})
	node(t, c, "b", "4", "10")
	ctx, r := t.Context(), c.ResourceV1()
	if _, err := r.DeviceClasses().Create(ctx, &resourcev1.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: "gpu"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	where := "b"
	slice := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: resourcev1.ResourceSliceSpec{
		Driver: "gpu.example.com", NodeName: &where, Pool: resourcev1.ResourcePool{Name: "b", ResourceSliceCount: 1}, Devices: []resourcev1.Device{{Name: "gpu-0"}}}}
	if _, err := r.ResourceSlices().Create(ctx, slice, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	o := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: "gpu"}}
	o.Spec.Devices.Requests = []resourcev1.DeviceRequest{{Name: "r", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu"}}}
	if _, err := r.ResourceClaims("test").Create(ctx, o, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	storageClass(t, c, "dynamic", "example.com/p")
	claim(t, c, "data", "dynamic")
	name := "gpu"
	pod(t, c, "p", "100m", uses("data"), func(p *corev1.Pod) {
		p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "c", ResourceClaimName: &name}}
	})
	allocated := func(want bool) func(context.Context) bool {
		return func(ctx context.Context) bool {
			o, err := r.ResourceClaims("test").Get(ctx, "gpu", metav1.GetOptions{})
			return err == nil && (o.Status.Allocation != nil) == want && (len(o.Status.ReservedFor) > 0) == want
		}
	}
	awaitObject(t, "a device for the pod", allocated(true))
	awaitObject(t, "a device given back when the volume did not come", allocated(false))
}
