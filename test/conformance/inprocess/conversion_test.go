package inprocess

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// converted is a definition whose versions differ, and are converted by a webhook.
func (s *hookServer) converted(group string) *definition {
	crd := define(group, object(definitions{"hostPort": {Type: "string"}}), "v1", "v2")
	crd.Spec.Versions[1].Schema.OpenAPIV3Schema = object(definitions{"host": {Type: "string"}, "port": {Type: "string"}})
	client := s.client("/convert")
	crd.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.WebhookConverter, Webhook: &apiextensionsv1.WebhookConversion{
		ClientConfig: &apiextensionsv1.WebhookClientConfig{URL: client.URL, CABundle: client.CABundle}, ConversionReviewVersions: []string{"v1"},
	}}
	return crd
}

func TestConversionWebhooks(t *testing.T) {
	e := start(t)
	w := &webhooks{e, serveHooks(t)}
	parallel(t, []subtest{
		{"conversion custom resource", w.convertOne},
		{"convert mixed version list", w.convertMixed},
		{"field selectors", w.selectFields},
		{"deny custom resource create and delete", w.denyCustom},
		{"deny custom resource definition", w.denyDefinition},
		{"mutate custom resource", w.mutateCustom},
		{"mutate custom resource with pruning", w.mutatePruned},
		{"mutate custom resource with different stored version", w.mutateStored},
	})
}

func (w *webhooks) convertOne(t *testing.T) {
	const group = "one.example.com"
	w.defined(t, w.converted(group))
	ns := w.namespace(t)
	must(w.boats(group, "v1", ns).Create(t.Context(), boat(group, "v1", "b", map[string]any{"hostPort": "localhost:8080"}), metav1.CreateOptions{}))(t)
	got := must(w.boats(group, "v2", ns).Get(t.Context(), "b", metav1.GetOptions{}))(t)
	if got.GetAPIVersion() != group+"/v2" || got.Object["host"] != "localhost" || got.Object["port"] != "8080" || got.Object["hostPort"] != nil {
		t.Errorf("at v2 it is %v", got.Object)
	}
}

func (w *webhooks) convertMixed(t *testing.T) {
	const group = "mixed.example.com"
	crd := w.defined(t, w.converted(group))
	ns := w.namespace(t)
	must(w.boats(group, "v1", ns).Create(t.Context(), boat(group, "v1", "first", map[string]any{"hostPort": "first:1"}), metav1.CreateOptions{}))(t)
	w.store(t, crd.Name, 1)
	must(w.boats(group, "v1", ns).Create(t.Context(), boat(group, "v1", "second", map[string]any{"hostPort": "second:2"}), metav1.CreateOptions{}))(t)
	for version, field := range map[string]string{"v1": "hostPort", "v2": "host"} {
		list := must(w.boats(group, version, ns).List(t.Context(), metav1.ListOptions{}))(t)
		if len(list.Items) != 2 {
			t.Fatalf("%d are listed at %s, want 2", len(list.Items), version)
		}
		for _, u := range list.Items {
			if got := fmt.Sprint(u.Object[field]); u.GetAPIVersion() != group+"/"+version || !strings.HasPrefix(got, u.GetName()) {
				t.Errorf("listed at %s: %v", version, u.Object)
			}
		}
	}
}

// store makes the version of the index the stored one.
func (w *webhooks) store(t *testing.T, name string, index int) {
	t.Helper()
	api := w.ext.ApiextensionsV1().CustomResourceDefinitions()
	eventually(t, "the stored version is changed", func(ctx context.Context) error {
		crd := must(api.Get(ctx, name, metav1.GetOptions{}))(t)
		for i := range crd.Spec.Versions {
			crd.Spec.Versions[i].Storage = i == index
		}
		crd, err := api.Update(ctx, crd, metav1.UpdateOptions{})
		if err == nil && !slices.Contains(crd.Status.StoredVersions, crd.Spec.Versions[index].Name) {
			err = fmt.Errorf("the stored versions are %v", crd.Status.StoredVersions)
		}
		return err
	})
}

// selectFields lists, watches and runs an informer by a field that one version has.
func (w *webhooks) selectFields(t *testing.T) {
	const group = "fields.example.com"
	crd := w.converted(group)
	crd.Spec.Versions[0].SelectableFields = []apiextensionsv1.SelectableField{{JSONPath: ".hostPort"}}
	crd.Spec.Versions[1].SelectableFields = []apiextensionsv1.SelectableField{{JSONPath: ".host"}, {JSONPath: ".port"}}
	w.defined(t, crd)
	ns := w.namespace(t)
	v1, v2 := w.boats(group, "v1", ns), w.boats(group, "v2", ns)
	selected := metav1.ListOptions{FieldSelector: "host=a"}
	seen := must(v2.Watch(t.Context(), selected))(t)
	defer seen.Stop()
	informer := w.informer(t, group, ns, selected.FieldSelector)
	for name, hostPort := range map[string]string{"a1": "a:1", "a2": "a:2", "b1": "b:1"} {
		must(v1.Create(t.Context(), boat(group, "v1", name, map[string]any{"hostPort": hostPort}), metav1.CreateOptions{}))(t)
	}
	names := func(list *unstructured.UnstructuredList) (out []string) {
		for _, u := range list.Items {
			out = append(out, u.GetName())
		}
		return out
	}
	if got := names(must(v2.List(t.Context(), selected))(t)); !slices.Equal(got, []string{"a1", "a2"}) {
		t.Errorf("host=a selects %v", got)
	}
	if got := names(must(v1.List(t.Context(), metav1.ListOptions{FieldSelector: "hostPort=b:1"}))(t)); !slices.Equal(got, []string{"b1"}) {
		t.Errorf("hostPort=b:1 selects %v", got)
	}
	_, err := v1.List(t.Context(), metav1.ListOptions{FieldSelector: "host=a"})
	refused(t, "a field of another version", err, "field label not supported")
	for range 2 {
		if ev := next(t, seen); ev.Type != watch.Added || !strings.HasPrefix(ev.Object.(*unstructured.Unstructured).GetName(), "a") {
			t.Errorf("the watch sees %v", ev)
		}
	}
	must(v2.Patch(t.Context(), "a1", types.MergePatchType, []byte(`{"host":"b"}`), metav1.PatchOptions{}))(t)
	expectEvent(t, seen, watch.Deleted, "a1")
	must(v2.Patch(t.Context(), "b1", types.MergePatchType, []byte(`{"host":"a"}`), metav1.PatchOptions{}))(t)
	expectEvent(t, seen, watch.Added, "b1")
	if err := v2.Delete(t.Context(), "a2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expectEvent(t, seen, watch.Deleted, "a2")
	eventually(t, "the informer has b1 alone", func(context.Context) error {
		if keys := informer.GetStore().ListKeys(); !slices.Equal(keys, []string{ns + "/b1"}) {
			return fmt.Errorf("it has %v", keys)
		}
		return nil
	})
}

func (w *webhooks) informer(t *testing.T, group, ns, selector string) cache.SharedIndexInformer {
	t.Helper()
	f := dynamicinformer.NewFilteredDynamicSharedInformerFactory(w.dyn, 0, ns, func(o *metav1.ListOptions) { o.FieldSelector = selector })
	informer := f.ForResource(schema.GroupVersionResource{Group: group, Version: "v2", Resource: "boats"}).Informer()
	f.Start(t.Context().Done())
	f.WaitForCacheSync(t.Context().Done())
	return informer
}

func (w *webhooks) denyCustom(t *testing.T) {
	const group = "deny.example.com"
	w.defined(t, define(group, object(nil), "v1"))
	ns := w.namespace(t)
	boats := w.boats(group, "v1", ns)
	must(boats.Create(t.Context(), boat(group, "v1", "kept", map[string]any{"data": map[string]any{"good": "yes"}}), metav1.CreateOptions{}))(t)
	w.install(t, "deny-custom", w.validating(ns, "/deny", on("CREATE UPDATE DELETE", group, "*", "boats")))
	bad := boat(group, "v1", "bad", map[string]any{"data": map[string]any{"bad": "yes"}})
	eventually(t, "creation is denied", func(ctx context.Context) error {
		_, err := boats.Create(ctx, bad, dry)
		return lacks(err, "this is bad")
	})
	_, err := boats.Patch(t.Context(), "kept", types.MergePatchType, []byte(`{"data":{"bad":"yes"}}`), metav1.PatchOptions{})
	refused(t, "an update", err, "this is bad")
	refused(t, "the deletion", boats.Delete(t.Context(), "kept", metav1.DeleteOptions{}), "this is bad")
}

func (w *webhooks) denyDefinition(t *testing.T) {
	hook := w.validating("", "/deny", on("CREATE", "apiextensions.k8s.io", "*", "customresourcedefinitions"))
	hook.NamespaceSelector, hook.ObjectSelector = nil, &metav1.LabelSelector{MatchLabels: map[string]string{"bad": "yes"}}
	w.install(t, "deny-definition", hook)
	crd := define("denied.example.com", object(nil), "v1")
	crd.Labels = map[string]string{"bad": "yes"}
	eventually(t, "creation is denied", func(ctx context.Context) error {
		_, err := w.ext.ApiextensionsV1().CustomResourceDefinitions().Create(ctx, crd, dry)
		return lacks(err, "this is bad")
	})
}

// mutated waits until a new boat has gone through both stages, and returns its data.
func (w *webhooks) mutated(t *testing.T, group, ns string) map[string]any {
	t.Helper()
	w.installMutating(t, "mutate-"+ns, w.mutating(ns, "/stage-1", on("CREATE UPDATE", group, "*", "boats")), w.mutating(ns, "/stage-2", on("CREATE UPDATE", group, "*", "boats")))
	var data map[string]any
	eventually(t, "a custom resource is mutated", func(ctx context.Context) error {
		u, err := w.boats(group, "v1", ns).Create(ctx, boat(group, "v1", "dry", map[string]any{"data": map[string]any{"start": "yes"}}), dry)
		if err != nil {
			return err
		}
		if data, _, _ = unstructured.NestedMap(u.Object, "data"); data["stage-1"] != "yes" {
			return errors.New("it is not")
		}
		return nil
	})
	return data
}

func (w *webhooks) mutateCustom(t *testing.T) {
	const group = "mutate.example.com"
	w.defined(t, define(group, object(nil), "v1"))
	if data := w.mutated(t, group, w.namespace(t)); data["stage-2"] != "yes" {
		t.Errorf("the data is %v", data)
	}
}

func (w *webhooks) mutatePruned(t *testing.T) {
	const group = "prune.example.com"
	known := object(definitions{"data": *object(definitions{"start": {Type: "string"}, "stage-1": {Type: "string"}})})
	w.defined(t, define(group, known, "v1"))
	if data := w.mutated(t, group, w.namespace(t)); data["stage-2"] != nil {
		t.Errorf("a field that the schema has not was kept: %v", data)
	}
}

func (w *webhooks) mutateStored(t *testing.T) {
	const group = "stored.example.com"
	crd := w.defined(t, define(group, object(nil), "v1", "v2"))
	ns := w.namespace(t)
	w.mutated(t, group, ns)
	v1 := w.boats(group, "v1", ns)
	must(v1.Create(t.Context(), boat(group, "v1", "b", map[string]any{"data": map[string]any{"start": "yes"}}), metav1.CreateOptions{}))(t)
	w.store(t, crd.Name, 1)
	for _, version := range []string{"v1", "v2"} {
		u := must(w.boats(group, version, ns).Patch(t.Context(), "b", types.MergePatchType, []byte(`{"data":{"`+version+`":"yes"}}`), metav1.PatchOptions{}))(t)
		data, _, _ := unstructured.NestedMap(u.Object, "data")
		if data[version] != "yes" || data["stage-1"] != "yes" || data["stage-2"] != "yes" {
			t.Errorf("after a patch at %s the data is %v", version, data)
		}
	}
}
