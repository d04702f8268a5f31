package removed

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	policyv1beta1 "k8s.io/api/policy/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, k := range Kinds() {
		if err := k.AddTo(s, func(runtime.Object) {}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestBudgetSelectors: the empty selector means none in the old version and all in the new.
func TestBudgetSelectors(t *testing.T) {
	s := scheme(t)
	only := func(op metav1.LabelSelectorOperator) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: noPods, Operator: op}}}
	}
	some := &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	for _, c := range []struct{ old, now *metav1.LabelSelector }{
		{nil, nil}, {some, some},
		{&metav1.LabelSelector{}, only(metav1.LabelSelectorOpExists)},
		{only(metav1.LabelSelectorOpDoesNotExist), &metav1.LabelSelector{}},
	} {
		var now policyv1.PodDisruptionBudget
		if err := s.Convert(&policyv1beta1.PodDisruptionBudget{Spec: policyv1beta1.PodDisruptionBudgetSpec{Selector: c.old}}, &now, nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.now, now.Spec.Selector); diff != "" {
			t.Errorf("%v becomes (-want +got):\n%s", c.old, diff)
		}
		var old policyv1beta1.PodDisruptionBudget
		if err := s.Convert(&now, &old, nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.old, old.Spec.Selector); diff != "" {
			t.Errorf("%v and back (-want +got):\n%s", c.old, diff)
		}
	}
}

// TestLists converts item by item, and keeps what a list has of its own.
func TestLists(t *testing.T) {
	s := scheme(t)
	old := &extensionsv1beta1.IngressList{ListMeta: metav1.ListMeta{ResourceVersion: "7", Continue: "more"}, Items: []extensionsv1beta1.Ingress{
		{Spec: extensionsv1beta1.IngressSpec{Backend: &extensionsv1beta1.IngressBackend{ServiceName: "a", ServicePort: intstr.FromString("http")}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "second"}},
	}}
	var now networkingv1.IngressList
	if err := s.Convert(old, &now, nil); err != nil {
		t.Fatal(err)
	}
	if now.ResourceVersion != "7" || now.Continue != "more" || len(now.Items) != 2 || now.Items[1].Name != "second" ||
		now.Items[0].Spec.DefaultBackend.Service.Port.Name != "http" {
		t.Errorf("got %+v", now)
	}
	var back extensionsv1beta1.IngressList
	if err := s.Convert(&now, &back, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(old, &back); diff != "" {
		t.Errorf("and back (-want +got):\n%s", diff)
	}
}

// TestConversionAddsNothing: server-side apply converts partial objects.
func TestConversionAddsNothing(t *testing.T) {
	s := scheme(t)
	var now networkingv1.NetworkPolicy
	if err := s.Convert(&extensionsv1beta1.NetworkPolicy{}, &now, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(networkingv1.NetworkPolicy{}, now); diff != "" {
		t.Errorf("an empty object has gained:\n%s", diff)
	}
}
