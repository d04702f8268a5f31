package clustertest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"coracle.dev/coracle/cluster/clustertest"
	"coracle.dev/coracle/nodeagent/simulate"
)

// appOf is the operator under test: a ConfigMap with the key "image" is an app, for which it makes a
// Deployment, and into which it writes how many pods are available.
type appOf struct{ client.Client }

func (r *appOf) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var app corev1.ConfigMap
	if err := r.Get(ctx, req.NamespacedName, &app); err != nil || app.Data["image"] == "" {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: app.Name}}
	_, err := controllerutil.CreateOrUpdate(ctx, r.Client, d, func() error {
		d.Spec.Replicas = new(int32(2))
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": app.Name}}
		d.Spec.Template = template(app.Name, map[string]string{simulate.ReadyAfter: "100ms"})
		d.Spec.Template.Spec.Containers[0].Image = app.Data["image"]
		return controllerutil.SetControllerReference(&app, d, r.Scheme())
	})
	if err != nil {
		return ctrl.Result{}, err
	}
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"data":{"available":"%d"}}`, d.Status.AvailableReplicas))
	return ctrl.Result{}, r.Patch(ctx, &app, patch)
}

// startOperator runs it until the test ends.
func startOperator(t *testing.T, cfg *rest.Config) client.Client {
	t.Helper()
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = ctrl.NewControllerManagedBy(mgr).For(&corev1.ConfigMap{}).Owns(&appsv1.Deployment{}).Complete(&appOf{mgr.GetClient()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running the operator: %v", err)
		}
	})
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestExampleOperator tests an operator that creates Deployments and waits for them.
func TestExampleOperator(t *testing.T) {
	c := clustertest.New(t)
	objects := startOperator(t, c.Config)
	app := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop"}, Data: map[string]string{"image": "shop:1"}}
	if err := objects.Create(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	eventually(t, clientset(t, c).CoreV1().RESTClient(), "configmaps", "shop", &corev1.ConfigMap{}, func(app *corev1.ConfigMap) error {
		if app.Data["available"] != "2" {
			return errors.New("available is " + app.Data["available"])
		}
		return nil
	})
}
