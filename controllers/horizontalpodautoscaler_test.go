package controllers_test

import (
	"errors"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func autoscaler(name, apiVersion, kind string, least, most int32) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: apiVersion, Kind: kind, Name: name},
			MinReplicas:    &least, MaxReplicas: most,
		},
	}
}

// reason is why a condition of an autoscaler is as it is.
func reason(h *autoscalingv2.HorizontalPodAutoscaler, kind autoscalingv2.HorizontalPodAutoscalerConditionType) string {
	for _, c := range h.Status.Conditions {
		if c.Type == kind {
			return c.Reason
		}
	}
	return ""
}

// Targets of all kinds are brought within the bounds, and what cannot be done is told.
func TestHorizontalPodAutoscaler(t *testing.T) {
	e := start(t, "horizontal-pod-autoscaler-controller", "deployment-controller", "replicaset-controller", "replicationcontroller-controller")
	e.kubelet()
	e.create(deployment("large", 5))
	e.create(autoscaler("large", "apps/v1", "Deployment", 1, 3))
	rc := &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "small"}, Spec: corev1.ReplicationControllerSpec{
		Replicas: new(int32(1)), Selector: map[string]string{"app": "small"}, Template: new(template("app", "small"))}}
	e.create(rc)
	e.create(autoscaler("small", "v1", "ReplicationController", 2, 3))
	d := &appsv1.Deployment{}
	e.eventually("both are within their bounds", func() error {
		e.get("large", d)
		e.get("small", rc)
		return errors.Join(expect("replicas of the large", d.Status.Replicas, int32(3)), expect("replicas of the small", rc.Status.Replicas, int32(2)))
	}, &appsv1.DeploymentList{}, &corev1.ReplicationControllerList{})
	h := &autoscalingv2.HorizontalPodAutoscaler{}
	e.eventually("the status tells of it", func() error {
		e.get("large", h)
		return errors.Join(expect("able to scale", reason(h, autoscalingv2.AbleToScale), "SucceededRescale"), expect("desired", h.Status.DesiredReplicas, int32(3)),
			e.told("large", "SuccessfulRescale"))
	}, &autoscalingv2.HorizontalPodAutoscalerList{}, &corev1.EventList{})

	e.create(autoscaler("none", "apps/v1", "Deployment", 1, 3))
	e.create(autoscaler("unknown", "example.com/v1", "Boat", 1, 3))
	e.create(deployment("idle", 2))
	e.create(autoscaler("idle", "apps/v1", "Deployment", 1, 3))
	e.eventually("what is missing is told", func() error {
		var errs []error
		for name, want := range map[string]string{"none": "FailedGetScale", "unknown": "FailedGetScale", "idle": "SucceededGetScale"} {
			e.get(name, h)
			errs = append(errs, expect(name, reason(h, autoscalingv2.AbleToScale), want))
		}
		if got := reason(h, autoscalingv2.ScalingActive); h.Name == "idle" && got != "FailedGetResourceMetric" {
			errs = append(errs, fmt.Errorf("without metrics scaling is %s", got))
		}
		return errors.Join(errs...)
	}, &autoscalingv2.HorizontalPodAutoscalerList{})
	e.get("idle", d)
	if *d.Spec.Replicas != 2 {
		t.Errorf("without metrics it was scaled to %d", *d.Spec.Replicas)
	}
}
