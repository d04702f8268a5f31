package apiserver_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregator "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	"coracle.dev/coracle/apiserver/apiservertest"
)

// eventually fails the test if f is not true within ten seconds; f returns what it saw.
func eventually(t *testing.T, what string, f func(ctx context.Context) (bool, any)) {
	t.Helper()
	var last any
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 60*time.Second, true, func(ctx context.Context) (ok bool, _ error) {
		ok, last = f(ctx)
		return ok, nil
	})
	if err != nil {
		t.Fatalf("%s: not after a minute; last seen: %v", what, last)
	}
}

func widgets() *apiextensionsv1.CustomResourceDefinition {
	object := func(p map[string]apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: "object", Properties: p}
	}
	schema := object(map[string]apiextensionsv1.JSONSchemaProps{
		"spec":   object(map[string]apiextensionsv1.JSONSchemaProps{"size": {Type: "integer", Description: "How big it is."}}),
		"status": object(map[string]apiextensionsv1.JSONSchemaProps{"state": {Type: "string"}}),
	})
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "widgets.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Singular: "widget", Kind: "Widget"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema:       &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &schema},
				Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
			}},
		},
	}
}

func TestCustomResources(t *testing.T) {
	config, _ := apiservertest.Start(t)
	crds := apiextensions.NewForConfigOrDie(config).ApiextensionsV1().CustomResourceDefinitions()
	if _, err := crds.Create(t.Context(), widgets(), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	client := dynamicFor(t, config).Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}).Namespace("default")
	widget := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"name": "w"},
		"spec": map[string]any{"size": int64(3)},
	}}
	eventually(t, "creating a custom resource", func(ctx context.Context) (bool, any) {
		_, err := client.Create(ctx, widget, metav1.CreateOptions{})
		return err == nil, err
	})
	apply := []byte(`{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"size":4},"status":{"state":"no"}}`)
	force := true
	got, err := client.Patch(t.Context(), "w", types.ApplyPatchType, apply, metav1.PatchOptions{FieldManager: "test", Force: &force})
	if err != nil {
		t.Fatal(err)
	}
	if size, _, _ := unstructured.NestedInt64(got.Object, "spec", "size"); size != 4 || got.GetGeneration() != 2 || got.Object["status"] != nil {
		t.Errorf("after apply: %v", got.Object)
	}
	widget.SetName("bad")
	widget.Object["spec"] = map[string]any{"size": "big"}
	if _, err := client.Create(t.Context(), widget, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "spec.size") {
		t.Errorf("a text for a number: %v", err)
	}
	documented(t, config)

	if err := crds.Delete(t.Context(), "widgets.example.com", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	registered := aggregator.NewForConfigOrDie(config).ApiregistrationV1().APIServices()
	eventually(t, "the APIService going with its definition", func(ctx context.Context) (bool, any) {
		list, err := registered.List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		return !slices.ContainsFunc(list.Items, func(s apiregistrationv1.APIService) bool { return s.Spec.Group == "example.com" }), len(list.Items)
	})
}

// documented waits for the custom resource to appear beside the built-in ones in all documents.
func documented(t *testing.T, config *rest.Config) {
	t.Helper()
	d := discovery.NewDiscoveryClientForConfigOrDie(config)
	eventually(t, "discovery of custom resources", func(context.Context) (bool, any) {
		_, lists, err := d.ServerGroupsAndResources()
		return err == nil && slices.ContainsFunc(lists, func(l *metav1.APIResourceList) bool { return l.GroupVersion == "example.com/v1" }), err
	})
	eventually(t, "OpenAPI v3 of custom resources", func(context.Context) (bool, any) {
		paths, err := d.OpenAPIV3().Paths()
		if err != nil || paths["apis/example.com/v1"] == nil || paths["apis/apps/v1"] == nil {
			return false, err
		}
		b, err := paths["apis/example.com/v1"].Schema("application/json")
		return strings.Contains(string(b), "How big it is."), err
	})
	eventually(t, "OpenAPI v2 of custom resources", func(context.Context) (bool, any) {
		doc, err := d.OpenAPISchema()
		if err != nil {
			return false, err
		}
		names := map[string]bool{}
		for _, p := range doc.GetDefinitions().GetAdditionalProperties() {
			names[p.Name] = true
		}
		return names["com.example.v1.Widget"] && names["io.k8s.api.apps.v1.Deployment"], len(names)
	})
}

// TestAggregatedAPI puts another server behind an APIService.
func TestAggregatedAPI(t *testing.T) {
	extension := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/apis/metrics.example.com/v1":
			_ = json.NewEncoder(w).Encode(metav1.APIResourceList{
				TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: "metrics.example.com/v1",
				APIResources: []metav1.APIResource{{Name: "things", SingularName: "thing", Kind: "Thing", Verbs: []string{"list"}}},
			})
		case "/apis/metrics.example.com/v1/things":
			_, _ = w.Write([]byte(`{"apiVersion":"metrics.example.com/v1","kind":"ThingList","metadata":{},"items":[{"apiVersion":"metrics.example.com/v1","kind":"Thing","metadata":{"name":"remote"}}]}`))
		default:
			http.NotFound(w, r)
		}
	}))
	defer extension.Close()
	u, err := url.Parse(extension.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	config, _ := apiservertest.Start(t)
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "extension"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}
	if _, err := clientFor(t, config).CoreV1().Services("default").Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := int32(port)
	registration := &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1.metrics.example.com"},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: "metrics.example.com", Version: "v1", GroupPriorityMinimum: 100, VersionPriority: 100, InsecureSkipTLSVerify: true,
			Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "extension", Port: &p},
		},
	}
	services := aggregator.NewForConfigOrDie(config).ApiregistrationV1().APIServices()
	if _, err := services.Create(t.Context(), registration, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the APIService being available", func(ctx context.Context) (bool, any) {
		s, err := services.Get(ctx, registration.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return slices.ContainsFunc(s.Status.Conditions, func(c apiregistrationv1.APIServiceCondition) bool {
			return c.Type == apiregistrationv1.Available && c.Status == apiregistrationv1.ConditionTrue
		}), s.Status.Conditions
	})
	things := dynamicFor(t, config).Resource(schema.GroupVersionResource{Group: "metrics.example.com", Version: "v1", Resource: "things"})
	eventually(t, "requests being passed on", func(ctx context.Context) (bool, any) {
		list, err := things.List(ctx, metav1.ListOptions{})
		return err == nil && len(list.Items) == 1 && list.Items[0].GetName() == "remote", err
	})
}
