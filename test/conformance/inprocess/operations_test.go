package inprocess

import (
	"context"
	"fmt"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// operation is a resource all of whose verbs are tried.
type operation struct {
	name, group, version, resource string
	// object is what is created, without a name.
	object string
	// subresources are those that discovery must have, status among them if it is served.
	subresources []string
	// status is a merge patch of the status; with subresource status it is written there.
	status string
}

const (
	policySpec = `{failurePolicy: Ignore, matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]}`
	condition  = `{"status":{"conditions":[{"type":"Tested","status":"True","reason":"Test","message":"it was","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`
)

var operations = []operation{
	{
		name: "FlowSchema", group: "flowcontrol.apiserver.k8s.io", version: "v1", resource: "flowschemas", subresources: []string{"status"},
		object: `{spec: {matchingPrecedence: 10000, priorityLevelConfiguration: {name: global-default}, distinguisherMethod: {type: ByUser},
			rules: [{subjects: [{kind: User, user: {name: nobody}}], nonResourceRules: [{verbs: [get], nonResourceURLs: [/none]}]}]}}`,
		status: condition,
	},
	{
		name: "PriorityLevelConfiguration", group: "flowcontrol.apiserver.k8s.io", version: "v1", resource: "prioritylevelconfigurations", subresources: []string{"status"},
		object: `{spec: {type: Limited, limited: {nominalConcurrencyShares: 2, limitResponse: {type: Reject}}}}`, status: condition,
	},
	{
		name: "ValidatingAdmissionPolicy", group: "admissionregistration.k8s.io", version: "v1", resource: "validatingadmissionpolicies", subresources: []string{"status"},
		object: `{spec: ` + policySpec + `, validations: [{expression: "object.spec.replicas <= 100"}]}}`, status: condition,
	},
	{
		name: "ValidatingAdmissionPolicyBinding", group: "admissionregistration.k8s.io", version: "v1", resource: "validatingadmissionpolicybindings",
		object: `{spec: {policyName: none-example, validationActions: [Deny]}}`,
	},
	{
		name: "MutatingAdmissionPolicy", group: "admissionregistration.k8s.io", version: "v1", resource: "mutatingadmissionpolicies",
		object: `{spec: ` + policySpec + `, reinvocationPolicy: Never, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{spec: Object.spec{replicas: 2}}"}}]}}`,
	},
	{
		name: "MutatingAdmissionPolicyBinding", group: "admissionregistration.k8s.io", version: "v1", resource: "mutatingadmissionpolicybindings",
		object: `{spec: {policyName: none-example}}`,
	},
}

func TestAPIOperations(t *testing.T) {
	e := start(t)
	for _, o := range operations {
		t.Run(o.name, func(t *testing.T) { e.operate(t, o, "") })
	}
}

// operate finds the resource in all discovery documents and tries its verbs.
func (e *env) operate(t *testing.T, o operation, ns string) {
	t.Helper()
	e.discovered(t, o)
	var api dynamic.ResourceInterface = e.dyn.Resource(schema.GroupVersionResource{Group: o.group, Version: o.version, Resource: o.resource})
	if ns != "" {
		api = e.dyn.Resource(schema.GroupVersionResource{Group: o.group, Version: o.version, Resource: o.resource}).Namespace(ns)
	}
	all := metav1.ListOptions{LabelSelector: "test=operations"}
	w := must(api.Watch(t.Context(), all))(t)
	defer w.Stop()
	for _, name := range []string{"one-example", "two-example", "three-example"} {
		u := e.object(t, o, name)
		if created, err := api.Create(t.Context(), u, metav1.CreateOptions{FieldValidation: "Strict"}); err != nil || created.GetUID() == "" {
			t.Fatalf("creating %s: %v", name, err)
		}
		expectEvent(t, w, watch.Added, name)
	}
	if n := len(must(api.List(t.Context(), all))(t).Items); n != 3 {
		t.Errorf("%d objects are listed, want 3", n)
	}
	eventually(t, "the object is updated", func(ctx context.Context) error { // the server's own controllers write some as well
		got := must(api.Get(ctx, "one-example", metav1.GetOptions{}))(t)
		got.SetAnnotations(map[string]string{"by": "update"})
		updated, err := api.Update(ctx, got, metav1.UpdateOptions{})
		if err == nil && updated.GetAnnotations()["by"] != "update" {
			err = fmt.Errorf("after an update the annotations are %v", updated.GetAnnotations())
		}
		return err
	})
	expectAnnotated(t, w, "update")
	must(api.Patch(t.Context(), "one-example", types.MergePatchType, []byte(`{"metadata":{"annotations":{"by":"patch"}}}`), metav1.PatchOptions{}))(t)
	expectAnnotated(t, w, "patch")
	if o.status != "" {
		e.operateStatus(t, api, o.status)
	}
	if err := api.Delete(t.Context(), "one-example", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expectEvent(t, w, watch.Deleted, "one-example")
	if _, err := api.Get(t.Context(), "one-example", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after its deletion: %v", err)
	}
	if err := api.DeleteCollection(t.Context(), metav1.DeleteOptions{}, all); err != nil {
		t.Fatal(err)
	}
	if n := len(must(api.List(t.Context(), all))(t).Items); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}

// expectAnnotated waits until the watch sees an object changed by the given means.
func expectAnnotated(t *testing.T, w watch.Interface, by string) {
	t.Helper()
	for {
		if ev := expectEvent(t, w, watch.Modified, "one-example"); ev.Object.(*unstructured.Unstructured).GetAnnotations()["by"] == by {
			return
		}
	}
}

func (e *env) object(t *testing.T, o operation, name string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(o.object), &u.Object); err != nil {
		t.Fatal(err)
	}
	list := must(e.disco.ServerResourcesForGroupVersion(schema.GroupVersion{Group: o.group, Version: o.version}.String()))(t)
	i := slices.IndexFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == o.resource })
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: o.group, Version: o.version, Kind: list.APIResources[i].Kind})
	u.SetName(name)
	u.SetLabels(map[string]string{"test": "operations"})
	return u
}

// operateStatus gets, patches and updates the status.
func (e *env) operateStatus(t *testing.T, api dynamic.ResourceInterface, status string) {
	t.Helper()
	must(api.Patch(t.Context(), "one-example", types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status"))(t)
	has := func(reason string) func(c any) bool {
		return func(c any) bool { return c.(map[string]any)["reason"] == reason }
	}
	eventually(t, "the status is updated", func(ctx context.Context) error {
		got := must(api.Get(ctx, "one-example", metav1.GetOptions{}, "status"))(t)
		conditions, _, _ := unstructured.NestedSlice(got.Object, "status", "conditions")
		i := slices.IndexFunc(conditions, has("Test"))
		if i < 0 {
			return fmt.Errorf("the status has not what was written: %v", got.Object["status"])
		}
		conditions[i].(map[string]any)["reason"] = "Updated"
		must(0, unstructured.SetNestedSlice(got.Object, conditions, "status", "conditions"))(t)
		updated, err := api.UpdateStatus(ctx, got, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		conditions, _, _ = unstructured.NestedSlice(updated.Object, "status", "conditions")
		if !slices.ContainsFunc(conditions, has("Updated")) {
			t.Errorf("after an update the conditions are %v", conditions)
		}
		return nil
	})
}

// discovered finds group, version and resource where discovery must have them.
func (e *env) discovered(t *testing.T, o operation) {
	t.Helper()
	groups := must(e.disco.ServerGroups())(t)
	i := slices.IndexFunc(groups.Groups, func(g metav1.APIGroup) bool { return g.Name == o.group })
	if i < 0 {
		t.Fatalf("/apis does not have %s", o.group)
	}
	if !slices.ContainsFunc(groups.Groups[i].Versions, func(v metav1.GroupVersionForDiscovery) bool { return v.Version == o.version }) {
		t.Errorf("/apis does not have version %s of %s", o.version, o.group)
	}
	var group metav1.APIGroup
	if err := e.disco.RESTClient().Get().AbsPath("/apis/" + o.group).Do(t.Context()).Into(&group); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(group.Versions, func(v metav1.GroupVersionForDiscovery) bool { return v.Version == o.version }) {
		t.Errorf("/apis/%s does not have version %s", o.group, o.version)
	}
	list := must(e.disco.ServerResourcesForGroupVersion(o.group + "/" + o.version))(t)
	for _, name := range append([]string{""}, o.subresources...) {
		want := o.resource
		verbs := []string{"create", "get", "list", "watch", "update", "patch", "delete", "deletecollection"}
		if name != "" {
			want, verbs = o.resource+"/"+name, []string{"get", "update", "patch"}
		}
		i := slices.IndexFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == want })
		if i < 0 {
			t.Errorf("/apis/%s/%s does not have %s", o.group, o.version, want)
			continue
		}
		for _, v := range verbs {
			if !slices.Contains(list.APIResources[i].Verbs, v) {
				t.Errorf("%s has not the verb %s", want, v)
			}
		}
	}
}
