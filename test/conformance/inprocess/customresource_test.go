package inprocess

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

type (
	props       = apiextensionsv1.JSONSchemaProps
	definition  = apiextensionsv1.CustomResourceDefinition
	definitions = map[string]props
	items       = apiextensionsv1.JSONSchemaPropsOrArray
)

// object is the schema of an object with the given properties; without any, of whatever it has.
func object(p definitions) *props {
	s := &props{Type: "object", Properties: p}
	if p == nil {
		s.XPreserveUnknownFields = new(true)
	}
	return s
}

// define is a definition of boats in a group, with a schema for each version; the first is stored.
func define(group string, schema *props, versions ...string) *definition {
	crd := &definition{ObjectMeta: metav1.ObjectMeta{Name: "boats." + group}, Spec: apiextensionsv1.CustomResourceDefinitionSpec{
		Group: group, Scope: apiextensionsv1.NamespaceScoped,
		Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "boats", Singular: "boat", Kind: "Boat", ListKind: "BoatList"},
	}}
	for i, v := range versions {
		crd.Spec.Versions = append(crd.Spec.Versions, apiextensionsv1.CustomResourceDefinitionVersion{
			Name: v, Served: true, Storage: i == 0, Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: schema.DeepCopy()},
		})
	}
	return crd
}

// defined creates a definition, waits until it is served, and removes it after the test.
func (e *env) defined(t *testing.T, crd *definition) *definition {
	t.Helper()
	api := e.ext.ApiextensionsV1().CustomResourceDefinitions()
	created := must(api.Create(t.Context(), crd, metav1.CreateOptions{}))(t)
	t.Cleanup(func() { _ = api.Delete(context.Background(), crd.Name, metav1.DeleteOptions{}) })
	for _, v := range crd.Spec.Versions {
		eventually(t, crd.Name+" is served", func(ctx context.Context) error {
			_, err := e.boats(crd.Spec.Group, v.Name, "default").List(ctx, metav1.ListOptions{})
			return err
		})
	}
	return created
}

func (e *env) boats(group, version, ns string) dynamic.ResourceInterface {
	return e.dyn.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: "boats"}).Namespace(ns)
}

// boat is an object of a definition, with further fields.
func boat(group, version, name string, fields map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": group + "/" + version, "kind": "Boat"}}
	for k, v := range fields {
		u.Object[k] = v
	}
	u.SetName(name)
	return u
}

func TestCustomResourceDefinitions(t *testing.T) {
	e := start(t)
	parallel(t, []subtest{
		{"create", e.defineAndDelete},
		{"status sub-resource", e.definitionStatus},
		{"list", e.listDefinitions},
		{"defaulting", e.customDefaults},
		{"discovery", func(t *testing.T) {
			e.discovered(t, operation{group: "apiextensions.k8s.io", version: "v1", resource: "customresourcedefinitions", subresources: []string{"status"}})
		}},
		{"watch", e.watchBoats},
	})
}

func (e *env) defineAndDelete(t *testing.T) {
	crd := e.defined(t, define("create.example.com", object(nil), "v1"))
	api := e.ext.ApiextensionsV1().CustomResourceDefinitions()
	if err := api.Delete(t.Context(), crd.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the definition is gone", func(ctx context.Context) error {
		if _, err := api.Get(ctx, crd.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return errors.Join(err, errors.New("it is there"))
		}
		return nil
	})
}

func (e *env) definitionStatus(t *testing.T) {
	e.defined(t, define("status.example.com", object(nil), "v1"))
	api := e.ext.ApiextensionsV1().CustomResourceDefinitions()
	const name = "boats.status.example.com"
	has := func(what string) {
		t.Helper()
		crd := &definition{}
		if err := e.ext.ApiextensionsV1().RESTClient().Get().Resource("customresourcedefinitions").Name(name).SubResource("status").Do(t.Context()).Into(crd); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(crd.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool { return string(c.Type) == what }) {
			t.Errorf("the conditions are %v, want %s among them", crd.Status.Conditions, what)
		}
	}
	has("Established")
	eventually(t, "the status is updated", func(ctx context.Context) error { // the server's own controllers write it too
		crd := must(api.Get(ctx, name, metav1.GetOptions{}))(t)
		crd.Status.Conditions = append(crd.Status.Conditions, apiextensionsv1.CustomResourceDefinitionCondition{Type: "Updated", Status: "True", Reason: "E2E", Message: "set by update"})
		_, err := api.UpdateStatus(ctx, crd, metav1.UpdateOptions{})
		return err
	})
	has("Updated")
	patch := []byte(`[{"op":"add","path":"/status/conditions/-","value":{"type":"Patched","status":"True","reason":"E2E","message":"set by patch"}}]`)
	must(api.Patch(t.Context(), name, types.JSONPatchType, patch, metav1.PatchOptions{}, "status"))(t)
	has("Patched")
}

func (e *env) listDefinitions(t *testing.T) {
	api := e.ext.ApiextensionsV1().CustomResourceDefinitions()
	for i := range 10 {
		crd := define(fmt.Sprintf("list%d.example.com", i), object(nil), "v1")
		crd.Labels = map[string]string{"listed": "yes"}
		must(api.Create(t.Context(), crd, metav1.CreateOptions{}))(t)
	}
	e.defined(t, define("unlisted.example.com", object(nil), "v1"))
	selected := metav1.ListOptions{LabelSelector: "listed=yes"}
	if n := len(must(api.List(t.Context(), selected))(t).Items); n != 10 {
		t.Errorf("%d definitions are listed, want 10", n)
	}
	if err := api.DeleteCollection(t.Context(), metav1.DeleteOptions{}, selected); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the labelled definitions are gone", func(ctx context.Context) error {
		list, err := api.List(ctx, selected)
		if err == nil && len(list.Items) > 0 {
			err = fmt.Errorf("%d are left", len(list.Items))
		}
		return err
	})
	must(api.Get(t.Context(), "boats.unlisted.example.com", metav1.GetOptions{}))(t)
}

// customDefaults changes which fields have defaults, and reads an object stored before.
func (e *env) customDefaults(t *testing.T) {
	const group = "defaults.example.com"
	schema := func(a, b string) *props {
		s := object(definitions{"a": {Type: "string"}, "b": {Type: "string"}})
		for field, value := range map[string]string{"a": a, "b": b} {
			if p := s.Properties[field]; value != "" {
				p.Default = &apiextensionsv1.JSON{Raw: []byte(`"` + value + `"`)}
				s.Properties[field] = p
			}
		}
		return s
	}
	e.defined(t, define(group, schema("", ""), "v1"))
	ns := e.namespace(t)
	boats, api := e.boats(group, "v1", ns), e.ext.ApiextensionsV1().CustomResourceDefinitions()
	if u := must(boats.Create(t.Context(), boat(group, "v1", "first", nil), metav1.CreateOptions{}))(t); u.Object["a"] != nil {
		t.Errorf("without a default a is %v", u.Object["a"])
	}
	change := func(a, b string, name, field, want string) {
		t.Helper()
		eventually(t, "the definition is updated", func(ctx context.Context) error {
			crd := must(api.Get(ctx, "boats."+group, metav1.GetOptions{}))(t)
			crd.Spec.Versions[0].Schema.OpenAPIV3Schema = schema(a, b)
			_, err := api.Update(ctx, crd, metav1.UpdateOptions{})
			return err
		})
		eventually(t, field+" is defaulted", func(ctx context.Context) error {
			u, err := boats.Get(ctx, name, metav1.GetOptions{})
			if err == nil && u.Object[field] != want {
				err = fmt.Errorf("%s is %v", field, u.Object[field])
			}
			return err
		})
	}
	change("A", "", "first", "a", "A")
	if u := must(boats.Create(t.Context(), boat(group, "v1", "second", nil), metav1.CreateOptions{}))(t); u.Object["a"] != "A" {
		t.Errorf("with a default a is %v", u.Object["a"])
	}
	change("", "B", "second", "b", "B")
	if u := must(boats.Get(t.Context(), "second", metav1.GetOptions{}))(t); u.Object["a"] != "A" {
		t.Errorf("after its default went, the stored a is %v", u.Object["a"])
	}
	if u := must(boats.Get(t.Context(), "first", metav1.GetOptions{}))(t); u.Object["a"] != nil {
		t.Errorf("after its default went, the a that was not stored is %v", u.Object["a"])
	}
}

func (e *env) watchBoats(t *testing.T) {
	const group = "watch.example.com"
	e.defined(t, define(group, object(nil), "v1"))
	boats := e.boats(group, "v1", e.namespace(t))
	w := must(boats.Watch(t.Context(), metav1.ListOptions{}))(t)
	defer w.Stop()
	must(boats.Create(t.Context(), boat(group, "v1", "b", nil), metav1.CreateOptions{}))(t)
	expectEvent(t, w, watch.Added, "b")
	must(boats.Patch(t.Context(), "b", types.MergePatchType, []byte(`{"dummy":"test"}`), metav1.PatchOptions{}))(t)
	if got := expectEvent(t, w, watch.Modified, "b").Object.(*unstructured.Unstructured).Object["dummy"]; got != "test" {
		t.Errorf("the watch sees %v", got)
	}
	if err := boats.Delete(t.Context(), "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expectEvent(t, w, watch.Deleted, "b")
}
