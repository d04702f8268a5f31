package inprocess

import (
	"context"
	"fmt"
	"strings"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

const fleet = "fleet.example.com"

// fleetDefinition has what a definition of custom resources can have, but conversion, which tests of
// its own are about.
func fleetDefinition() *definition {
	spec := object(definitions{
		"replicas": {Type: "integer", Default: &apiextensionsv1.JSON{Raw: []byte("1")}, Minimum: new(0.0)},
		"port":     {Type: "string", MaxLength: new(int64(20)), XValidations: apiextensionsv1.ValidationRules{{Rule: "self == oldSelf", Message: "port is immutable"}}},
		"harbours": {Type: "array", MaxItems: new(int64(5)), XListType: new("map"), XListMapKeys: []string{"name"}, Items: &items{Schema: &props{
			Type: "object", Required: []string{"name"}, Properties: definitions{"name": {Type: "string", MaxLength: new(int64(20))}, "berths": {Type: "integer"}},
		}}},
	})
	spec.XValidations = apiextensionsv1.ValidationRules{{Rule: "self.replicas <= 10 || self.port == 'big'", MessageExpression: "self.port == '' ? 'name a port' : 'at most 10 replicas'", FieldPath: ".replicas"}}
	root := object(definitions{"spec": *spec, "status": *object(definitions{"replicas": {Type: "integer"}, "selector": {Type: "string"}})})
	crd := define(fleet, root, "v1")
	crd.Spec.Names.ShortNames, crd.Spec.Names.Categories = []string{"bt"}, []string{"ships"}
	v := &crd.Spec.Versions[0]
	v.Subresources = &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}, Scale: &apiextensionsv1.CustomResourceSubresourceScale{
		SpecReplicasPath: ".spec.replicas", StatusReplicasPath: ".status.replicas", LabelSelectorPath: new(".status.selector"),
	}}
	v.SelectableFields = []apiextensionsv1.SelectableField{{JSONPath: ".spec.port"}}
	v.AdditionalPrinterColumns = []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Port", Type: "string", JSONPath: ".spec.port"}, {Name: "Ships", Type: "integer", JSONPath: ".spec.replicas"},
		{Name: "Harbours", Type: "string", JSONPath: ".spec.harbours[*].name", Priority: 1}, {Name: "Age", Type: "date", JSONPath: ".metadata.creationTimestamp"},
	}
	return crd
}

// TestCustomResourceFeatures is what scenario S45 has beyond conformance: status and scale, printer
// columns, CEL rules, selectable fields, short names and categories, merging by server-side apply.
func TestCustomResourceFeatures(t *testing.T) {
	e := start(t)
	e.defined(t, fleetDefinition())
	ns := e.namespace(t)
	boats := e.boats(fleet, "v1", ns)
	created := must(boats.Create(t.Context(), boat(fleet, "v1", "b", map[string]any{"spec": map[string]any{"port": "cork"}, "status": map[string]any{"replicas": int64(9)}}), metav1.CreateOptions{}))(t)
	if n, _, _ := unstructured.NestedInt64(created.Object, "spec", "replicas"); n != 1 || created.Object["status"] != nil || created.GetGeneration() != 1 {
		t.Errorf("created: %v", created.Object)
	}
	for _, test := range []subtest{
		{"rules", func(t *testing.T) {
			for patch, text := range map[string]string{
				`{"spec":{"port":"other"}}`:                         "spec.port: Invalid value: \"other\": port is immutable",
				`{"spec":{"replicas":11}}`:                          "spec.replicas: Invalid value: at most 10 replicas",
				`{"spec":{"replicas":-1}}`:                          "spec.replicas in body should be greater than or equal to 0",
				`{"spec":{"harbours":[{"berths":1}]}}`:              "spec.harbours[0].name: Required value",
				`{"spec":{"harbours":[{"name":"a"},{"name":"a"}]}}`: "spec.harbours[1]: Duplicate value",
			} {
				_, err := boats.Patch(t.Context(), "b", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
				refused(t, patch, err, text)
			}
		}},
		{"status and scale", func(t *testing.T) { e.customScale(t, ns) }},
		{"apply merges lists by their key", func(t *testing.T) {
			for i, name := range []string{"a", "b"} {
				apply := fmt.Sprintf(`{"apiVersion":"%s/v1","kind":"Boat","spec":{"harbours":[{"name":%q,"berths":%d}]}}`, fleet, name, i+1)
				must(boats.Patch(t.Context(), "b", types.ApplyPatchType, []byte(apply), metav1.PatchOptions{FieldManager: name}))(t)
			}
			got := must(boats.Get(t.Context(), "b", metav1.GetOptions{}))(t)
			if harbours, _, _ := unstructured.NestedSlice(got.Object, "spec", "harbours"); len(harbours) != 2 {
				t.Errorf("two managers' harbours are %v", harbours)
			}
			_, err := boats.Patch(t.Context(), "b", types.ApplyPatchType, []byte(`{"apiVersion":"`+fleet+`/v1","kind":"Boat","spec":{"harbours":[{"name":"a","berths":7}]}}`), metav1.PatchOptions{FieldManager: "b"})
			refused(t, "another manager's field", err, "conflict", `.spec.harbours[name="a"].berths`)
		}},
		{"columns, names and fields", func(t *testing.T) { e.customColumns(t, ns) }},
	} {
		t.Run(test.name, test.run)
	}
}

func (e *env) customScale(t *testing.T, ns string) {
	boats := e.boats(fleet, "v1", ns)
	u := must(boats.Patch(t.Context(), "b", types.MergePatchType, []byte(`{"spec":{"replicas":5},"status":{"replicas":3,"selector":"app=b"}}`), metav1.PatchOptions{}, "status"))(t)
	if n, _, _ := unstructured.NestedInt64(u.Object, "spec", "replicas"); n != 1 || u.GetGeneration() != 1 {
		t.Errorf("a write to /status changed spec: %v", u.Object)
	}
	var scale autoscalingv1.Scale
	got := must(boats.Get(t.Context(), "b", metav1.GetOptions{}, "scale"))(t)
	must(0, runtime.DefaultUnstructuredConverter.FromUnstructured(got.Object, &scale))(t)
	if scale.Spec.Replicas != 1 || scale.Status.Replicas != 3 || scale.Status.Selector != "app=b" {
		t.Errorf("the scale is %+v", scale)
	}
	if out, err := e.kubectl(t, "", "--namespace", ns, "scale", "boats.fleet.example.com/b", "--replicas=4"); err != nil {
		t.Errorf("kubectl scale: %v: %s", err, out)
	}
	if n, _, _ := unstructured.NestedInt64(must(boats.Get(t.Context(), "b", metav1.GetOptions{}))(t).Object, "spec", "replicas"); n != 4 {
		t.Errorf("after scaling to 4 there are %d", n)
	}
}

func (e *env) customColumns(t *testing.T, ns string) {
	eventually(t, "kubectl knows the short name", func(context.Context) error {
		out, err := e.kubectl(t, "", "--namespace", ns, "get", "bt", "-o", "wide")
		if err != nil {
			return err
		}
		for _, want := range []string{"NAME", "PORT", "SHIPS", "HARBOURS", "AGE", "cork"} {
			if !strings.Contains(out, want) {
				t.Errorf("kubectl get bt has no %s:\n%s", want, out)
			}
		}
		return nil
	})
	if out, err := e.kubectl(t, "", "--namespace", ns, "get", "ships", "-o", "name", "--field-selector", "spec.port=cork"); err != nil || out != "boat.fleet.example.com/b\n" {
		t.Errorf("kubectl get ships: %q, %v", out, err)
	}
	if out, err := e.kubectl(t, "", "--namespace", ns, "get", "boats", "-o", "name", "--field-selector", "spec.port!=cork"); err != nil || strings.Contains(out, "boat") {
		t.Errorf("kubectl get boats elsewhere: %q, %v", out, err)
	}
}
