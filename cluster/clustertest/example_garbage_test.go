package clustertest_test

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"coracle.dev/coracle/cluster/clustertest"
)

// TestExampleGarbage tests that what is owned goes with its owner: the pods of a ReplicaSet of a Deployment.
func TestExampleGarbage(t *testing.T) {
	c := clustertest.New(t, clustertest.WithNodes(1))
	cs := clientset(t, c)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{
		Replicas: new(int32(3)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: template("web", nil),
	}}
	if _, err := cs.AppsV1().Deployments("default").Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, cs.AppsV1().RESTClient(), "deployments", "web", &appsv1.Deployment{}, func(d *appsv1.Deployment) error {
		if d.Status.ReadyReplicas != 3 {
			return fmt.Errorf("%d of 3 are ready", d.Status.ReadyReplicas)
		}
		return nil
	})
	pods, err := cs.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := cs.CoreV1().Pods("default").Watch(t.Context(), metav1.ListOptions{ResourceVersion: pods.ResourceVersion, TimeoutSeconds: new(int64(60))})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	background := metav1.DeletePropagationBackground
	if err := cs.AppsV1().Deployments("default").Delete(t.Context(), "web", metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		t.Fatal(err)
	}
	left := len(pods.Items)
	for e := range w.ResultChan() {
		if e.Type == watch.Deleted {
			left--
		}
		if left == 0 {
			return
		}
	}
	t.Errorf("%d pods are left of the Deployment", left)
}
