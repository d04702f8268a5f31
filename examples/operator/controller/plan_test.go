package controller

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/examples/operator/api/v1alpha1"
)

func website(page string, replicas int32) *v1alpha1.Website {
	return &v1alpha1.Website{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "hello", Generation: 1},
		Spec: v1alpha1.WebsiteSpec{Page: page, Replicas: &replicas, Image: "web:1"}}
}

func TestAnotherPageIsAnotherTemplate(t *testing.T) {
	one, two := plan(website("one", 1)), plan(website("two", 1))
	a, b := one.deployment.Spec.Template.Annotations, two.deployment.Spec.Template.Annotations
	if a["examples.coracle.dev/page"] == b["examples.coracle.dev/page"] {
		t.Error("two pages make the same template, so that pods would go on serving the first")
	}
}

func TestReady(t *testing.T) {
	w := website("page", 2)
	rolled := func(change func(*appsv1.Deployment)) *appsv1.Deployment {
		d := &appsv1.Deployment{Status: appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}}
		d.Spec.Template.Annotations = map[string]string{"examples.coracle.dev/page": digest("page")}
		if change != nil {
			change(d)
		}
		return d
	}
	for name, c := range map[string]struct {
		change func(*appsv1.Deployment)
		want   metav1.ConditionStatus
	}{
		"rolled out":         {nil, metav1.ConditionTrue},
		"one is missing":     {func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 1 }, metav1.ConditionFalse},
		"an old one is left": {func(d *appsv1.Deployment) { d.Status.Replicas = 3 }, metav1.ConditionFalse},
		"not yet observed":   {func(d *appsv1.Deployment) { d.Generation = 7 }, metav1.ConditionFalse},
		"of the page before": {func(d *appsv1.Deployment) { d.Spec.Template.Annotations = nil }, metav1.ConditionFalse},
	} {
		if got := ready(w, rolled(c.change)); got.Status != c.want {
			t.Errorf("%s: Ready is %s (%s)", name, got.Status, got.Message)
		}
	}
}
