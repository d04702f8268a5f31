package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"coracle.dev/coracle/cluster"
)

// TestMain lets the test binary be what the links of envtest-assets make of coracle.
func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); name == "kubectl" || cluster.EnvtestProgram(name) != nil {
		main()
		return
	}
	os.Exit(m.Run())
}

func boats() *apiextensionsv1.CustomResourceDefinition {
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "boats.example.com"}}
	preserve := true
	crd.Spec = apiextensionsv1.CustomResourceDefinitionSpec{
		Group: "example.com", Scope: apiextensionsv1.NamespaceScoped,
		Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "boats", Kind: "Boat"},
		Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &preserve}}}},
	}
	return crd
}

// TestEnvtest runs what a kubebuilder project's suite does: envtest starts API server and etcd, installs
// a custom resource, and a manager reconciles it; with a second user, and kubectl.
func TestEnvtest(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "assets")
	for range 2 { // again over its own links
		if err := cluster.EnvtestAssets(dir, binary); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	environment := &envtest.Environment{CRDInstallOptions: envtest.CRDInstallOptions{CRDs: []*apiextensionsv1.CustomResourceDefinition{boats()}}}
	cfg, err := environment.Start()
	if err != nil {
		t.Fatalf("starting the environment: %v", err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Errorf("stopping the environment: %v", err)
		}
	})
	reconcileBoats(t, cfg)

	sailor, err := environment.AddUser(envtest.User{Name: "sailor", Groups: []string{"crew"}}, nil)
	if err != nil {
		t.Fatalf("adding a user: %v", err)
	}
	c, err := client.New(sailor.Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.List(t.Context(), &corev1.SecretList{}); !apierrors.IsForbidden(err) {
		t.Errorf("a user without roles lists secrets: %v", err)
	}
	admin, err := environment.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatalf("adding an administrator: %v", err)
	}
	kubectl, err := admin.Kubectl()
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, err := kubectl.Run("get", "boats", "-o", "name")
	if err != nil {
		t.Fatalf("kubectl: %v", err)
	}
	out, err := io.ReadAll(stdout)
	if err != nil || string(out) != "boat.example.com/coracle\n" {
		complaint, _ := io.ReadAll(stderr)
		t.Errorf("kubectl get boats: %q, %v: %s", out, err, complaint)
	}
}

// reconcileBoats runs a manager whose reconciler makes a ConfigMap for a boat, and waits for it.
func reconcileBoats(t *testing.T, cfg *rest.Config) {
	t.Helper()
	manager, err := ctrl.NewManager(cfg, ctrl.Options{Scheme: scheme.Scheme, Metrics: server.Options{BindAddress: "0"}})
	if err != nil {
		t.Fatal(err)
	}
	boat := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Boat"}}
	boat.SetNamespace("default")
	boat.SetName("coracle")
	made := make(chan error, 10)
	err = ctrl.NewControllerManagedBy(manager).For(boat.DeepCopy()).Complete(reconcilerFunc(func(ctx context.Context, r ctrl.Request) error {
		err := manager.GetClient().Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Name}})
		made <- err
		return client.IgnoreAlreadyExists(err)
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- manager.Start(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running the manager: %v", err)
		}
	}()
	if err := manager.GetClient().Create(ctx, boat); err != nil {
		t.Fatalf("creating a boat: %v", err)
	}
	if err := <-made; err != nil {
		t.Fatalf("the reconciler: %v", err)
	}
	if err := manager.GetAPIReader().Get(ctx, client.ObjectKeyFromObject(boat), &corev1.ConfigMap{}); err != nil {
		t.Error(err)
	}
}

type reconcilerFunc func(context.Context, ctrl.Request) error

func (f reconcilerFunc) Reconcile(ctx context.Context, r ctrl.Request) (ctrl.Result, error) {
	return ctrl.Result{}, f(ctx, r)
}

// TestEnvtestRefusals: flags that are not known, or cannot be obeyed, are named.
func TestEnvtestRefusals(t *testing.T) {
	program := cluster.EnvtestProgram("kube-apiserver")
	for _, args := range [][]string{{"--no-such-flag=1"}, {"--allow-privileged=false"}, {"argument"}} {
		if err := program(t.Context(), args); err == nil {
			t.Errorf("%v is accepted", args)
		} else if text := fmt.Sprint(err); len(text) < 10 {
			t.Errorf("%v: %s", args, text)
		}
	}
	if cluster.EnvtestProgram("coracle") != nil {
		t.Error("coracle is a program of envtest")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "etcd"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cluster.EnvtestAssets(dir, "/bin/true"); err == nil {
		t.Error("a file that is no link was replaced")
	}
}
