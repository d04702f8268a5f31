package controllers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"coracle.dev/coracle/controllers"
)

func TestResourceClaims(t *testing.T) {
	e := start(t, "resourceclaim-controller")
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "p"}, Spec: template().Spec}
	p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "gpu", ResourceClaimTemplateName: new("gpu")}}
	e.create(p)
	e.create(&resourcev1.ResourceClaimTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "gpu"}, Spec: resourcev1.ResourceClaimTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"made": "here"}},
		Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{{
			Name: "r", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu.example.com"}}}}}}})
	e.eventually("the pod has a claim", func() error {
		e.get("p", p)
		if s := p.Status.ResourceClaimStatuses; len(s) != 1 || s[0].ResourceClaimName == nil || !strings.HasPrefix(*s[0].ResourceClaimName, "p-gpu-") {
			return fmt.Errorf("its claims are %+v", s)
		}
		return nil
	}, &corev1.PodList{})
	c := &resourcev1.ResourceClaim{}
	e.get(*p.Status.ResourceClaimStatuses[0].ResourceClaimName, c)
	if !metav1.IsControlledBy(c, p) || c.Labels["made"] != "here" || c.Annotations[resourcev1.PodResourceClaimAnnotation] != "gpu" {
		t.Errorf("the claim is %+v", c.ObjectMeta)
	}
	// As the scheduler would have done it.
	e.patch(c, fmt.Sprintf(`{"metadata":{"finalizers":[%q]}}`, resourcev1.Finalizer))
	c.Status.Allocation = &resourcev1.AllocationResult{}
	if err := e.Status().Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	e.patch(p, `{"metadata":{"labels":{"look":"again"}}}`)
	e.eventually("the claim is reserved for the pod, which has a node", func() error {
		e.get(c.Name, c)
		if len(c.Status.ReservedFor) != 1 || c.Status.ReservedFor[0].UID != p.UID {
			return fmt.Errorf("it is reserved for %v", c.Status.ReservedFor)
		}
		return nil
	}, &resourcev1.ResourceClaimList{})
	e.finish(p)
	e.awaitGone(c, &resourcev1.ResourceClaimList{})

	shared := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "shared", Finalizers: []string{resourcev1.Finalizer}}, Spec: resourcev1.ResourceClaimSpec{}}
	e.create(shared)
	shared.Status.Allocation = &resourcev1.AllocationResult{}
	shared.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{{Resource: "pods", Name: "gone", UID: "gone"}}
	if err := e.Status().Update(t.Context(), shared); err != nil {
		t.Fatal(err)
	}
	e.eventually("a claim of a pod that is gone is free", func() error {
		e.get("shared", shared)
		if shared.Status.Allocation != nil || len(shared.Status.ReservedFor)+len(shared.Finalizers) > 0 {
			return fmt.Errorf("it is %+v", shared)
		}
		return nil
	}, &resourcev1.ResourceClaimList{})
}

func TestServiceRangesInUseStay(t *testing.T) {
	e := start(t, "none")
	clock := clocktesting.NewFakeClock(time.Now())
	e.runWith(controllers.Options{Controllers: []string{"service-cidr-controller"}, Clock: clock})
	list := &networkingv1.ServiceCIDRList{}
	o := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "more"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"192.168.100.0/24"}}}
	e.create(o)
	e.awaitFinalizer(o, "networking.k8s.io/service-cidr-finalizer", list)
	e.eventually("the range is ready", func() error {
		e.get("more", o)
		return expect("ready", meta.IsStatusConditionTrue(o.Status.Conditions, "Ready"), true)
	}, list)
	a := &networkingv1.IPAddress{ObjectMeta: metav1.ObjectMeta{Name: "192.168.100.7"}, Spec: networkingv1.IPAddressSpec{
		ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: e.ns, Name: "s"}}}
	e.create(a)
	e.delete(o)
	e.eventually("the range says that it is going", func() error {
		e.get("more", o)
		c := meta.FindStatusCondition(o.Status.Conditions, "Ready")
		if c == nil || c.Status != metav1.ConditionFalse || c.Reason != "Terminating" {
			return fmt.Errorf("its condition is %+v", c)
		}
		return nil
	}, list)
	clock.Step(time.Minute) // API servers have heard; the address is left
	e.patch(o, `{"metadata":{"labels":{"look":"again"}}}`)
	e.awaitFinalizer(o, "networking.k8s.io/service-cidr-finalizer", list)
	e.delete(a)
	e.awaitGone(o, list)
}
