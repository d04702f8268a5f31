package controller_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/yaml"

	"coracle.dev/coracle/cluster/clustertest"
	"coracle.dev/coracle/examples/operator/api/v1alpha1"
	"coracle.dev/coracle/examples/operator/controller"
	"coracle.dev/coracle/nodeagent/simulate"
)

// operator is the operator that runs in a cluster, and a client that may do everything.
type operator struct {
	client.WithWatch
	t *testing.T
}

// start runs the operator with the rights of its role, as it would have them in a real cluster.
func start(t *testing.T) *operator {
	t.Helper()
	cluster := clustertest.New(t, clustertest.WithCRDs("../config/crd"), clustertest.WithWebhooks("../config/webhook"))
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	admin, err := client.NewWithWatch(cluster.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	grant(t, admin, "operator")
	run(t, cluster.As("operator"), scheme, cluster.WebhookOptions())
	return &operator{admin, t}
}

// grant gives a user the rights of config/rbac.
func grant(t *testing.T, c client.Client, user string) {
	t.Helper()
	text, err := os.ReadFile("../config/rbac/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict(text, role); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	if err := errors.Join(c.Create(t.Context(), role), c.Create(t.Context(), binding)); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, cfg *rest.Config, scheme *runtime.Scheme, hooks webhook.Options) {
	t.Helper()
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, WebhookServer: webhook.NewServer(hooks),
		Controller: config.Controller{SkipNameValidation: new(true)}, // tests run several in a process
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(controller.New(mgr).SetupWithManager(mgr), controller.SetupWebhookWithManager(mgr)); err != nil {
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
}

// create creates an object as soon as the webhook answers: the operator may still be starting.
func (o *operator) create(obj client.Object) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := o.Create(ctx, obj)
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "connection refused") && !strings.Contains(err.Error(), "forbidden") {
			o.t.Fatalf("creating %s: %v", obj.GetName(), err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			o.t.Fatalf("creating %s: %v", obj.GetName(), err)
		}
	}
}

// eventually waits until an object is as it should be.
func (o *operator) eventually(obj client.Object, list client.ObjectList, check func() error) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), time.Minute)
	defer cancel()
	w, err := o.Watch(ctx, list, client.InNamespace(obj.GetNamespace()))
	if err != nil {
		o.t.Fatal(err)
	}
	defer w.Stop()
	for {
		err := o.Get(ctx, client.ObjectKeyFromObject(obj), obj)
		if err == nil || apierrors.IsNotFound(err) {
			if err = errors.Join(err, check()); err == nil {
				return
			}
		}
		if _, open := <-w.ResultChan(); !open {
			o.t.Fatalf("waiting for %T %s: %v", obj, obj.GetName(), err)
		}
	}
}

func website(name string, replicas int32) *v1alpha1.Website {
	return &v1alpha1.Website{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: v1alpha1.WebsiteSpec{Page: "hello", Replicas: &replicas}}
}

func isReady(w *v1alpha1.Website, want bool) error {
	if meta.IsStatusConditionTrue(w.Status.Conditions, "Ready") != want || len(w.Status.Conditions) == 0 {
		return fmt.Errorf("its status is %+v", w.Status)
	}
	return nil
}

func TestWebsite(t *testing.T) {
	o := start(t)
	w := website("hello", 3)
	o.create(w)

	t.Run("is served by as many pods as it says", func(t *testing.T) {
		o.eventually(w, &v1alpha1.WebsiteList{}, func() error { return isReady(w, true) })
		if w.Status.Replicas != 3 || w.Spec.Image != "busybox:1.35" {
			t.Errorf("it has %d replicas of %s", w.Status.Replicas, w.Spec.Image)
		}
	})

	t.Run("rolls out another page", func(t *testing.T) {
		before := &appsv1.Deployment{}
		if err := o.Get(t.Context(), client.ObjectKeyFromObject(w), before); err != nil {
			t.Fatal(err)
		}
		w.Spec.Page = "another"
		if err := o.Update(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		o.eventually(w, &v1alpha1.WebsiteList{}, func() error {
			return errors.Join(isReady(w, true), same("the generation that is ready", w.Status.Conditions[0].ObservedGeneration, w.Generation))
		})
		after := &appsv1.Deployment{}
		if err := o.Get(t.Context(), client.ObjectKeyFromObject(w), after); err != nil || after.Generation == before.Generation {
			t.Errorf("the Deployment is still of generation %d, %v", after.Generation, err)
		}
	})

	t.Run("says when a pod fails", func(t *testing.T) {
		var pods corev1.PodList
		if err := o.List(t.Context(), &pods, client.InNamespace("default")); err != nil {
			t.Fatal(err)
		}
		p := &pods.Items[0]
		sick := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"false"}}}`, simulate.Ready))
		if err := o.Patch(t.Context(), p, sick); err != nil {
			t.Fatal(err)
		}
		o.eventually(w, &v1alpha1.WebsiteList{}, func() error { return isReady(w, false) })
	})

	t.Run("takes all it owns with it", func(t *testing.T) {
		if err := o.Delete(t.Context(), w, client.PropagationPolicy(metav1.DeletePropagationForeground)); err != nil {
			t.Fatal(err)
		}
		o.awaitGone(w, &v1alpha1.WebsiteList{})
		for _, obj := range []client.Object{&appsv1.Deployment{}, &corev1.Service{}, &corev1.ConfigMap{}} {
			if err := o.Get(t.Context(), client.ObjectKeyFromObject(w), obj); !apierrors.IsNotFound(err) {
				t.Errorf("a %T is left: %v", obj, err)
			}
		}
	})

	t.Run("is refused with an image of no certain version", func(t *testing.T) {
		bad := website("bad", 1)
		bad.Spec.Image = "web:latest"
		if err := o.Create(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "use a tag other than latest") {
			t.Errorf("creating it: %v", err)
		}
	})
}

func same[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s is %v, want %v", what, got, want)
	}
	return nil
}

// awaitGone waits until an object is not there.
func (o *operator) awaitGone(obj client.Object, list client.ObjectList) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), time.Minute)
	defer cancel()
	w, err := o.Watch(ctx, list, client.InNamespace(obj.GetNamespace()))
	if err != nil {
		o.t.Fatal(err)
	}
	defer w.Stop()
	for {
		if err := o.Get(ctx, client.ObjectKeyFromObject(obj), obj); apierrors.IsNotFound(err) {
			return
		}
		if _, open := <-w.ResultChan(); !open {
			o.t.Fatalf("%s is still there: %v", obj.GetName(), obj.GetFinalizers())
		}
	}
}
