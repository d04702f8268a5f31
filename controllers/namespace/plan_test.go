package namespace

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestKinds(t *testing.T) {
	all := metav1.Verbs{"delete", "deletecollection", "list", "get"}
	got, invalid := kinds([]*metav1.APIResourceList{
		{GroupVersion: "v1", APIResources: []metav1.APIResource{
			{Name: "configmaps", Namespaced: true, Verbs: all},
			{Name: "pods", Namespaced: true, Verbs: all},
			{Name: "pods/log", Namespaced: true, Verbs: all},
			{Name: "bindings", Namespaced: true, Verbs: metav1.Verbs{"create"}},
			{Name: "nodes", Verbs: all},
		}},
		{GroupVersion: "example.com/v1", APIResources: []metav1.APIResource{
			{Name: "slow", Namespaced: true, Verbs: metav1.Verbs{"delete", "list"}},
			{Name: "hidden", Namespaced: true, Verbs: metav1.Verbs{"delete"}},
		}},
		{GroupVersion: "a/b/c"},
	})
	want := []kind{
		{schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, true, true},
		{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, true, true},
		{schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "slow"}, false, true},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(kind{})); d != "" {
		t.Errorf("kinds (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"a/b/c"}, invalid); d != "" {
		t.Errorf("invalid (-want +got):\n%s", d)
	}
	first, then := podsFirst(got)
	if len(first) != 1 || first[0].resource.Resource != "pods" || len(then) != 2 {
		t.Errorf("deleted first %v, then %v", first, then)
	}
}

func TestConditions(t *testing.T) {
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	items := make([]metav1.PartialObjectMetadata, 2)
	items[1].Finalizers = []string{"example.com/wait"}
	some := &remains{}
	some.add(pods, items)
	for _, tc := range []struct {
		name  string
		left  *remains
		empty bool
		want  map[corev1.NamespaceConditionType]string
	}{
		{"nothing left", &remains{}, true, nil},
		{"some left", some, false, map[corev1.NamespaceConditionType]string{
			corev1.NamespaceContentRemaining:    "Some resources are remaining: pods has 2 resource instances",
			corev1.NamespaceFinalizersRemaining: "Some content in the namespace has finalizers remaining: example.com/wait in 1 resource instances",
		}},
		{"discovery failed", &remains{discovery: errors.New("no answer")}, false, map[corev1.NamespaceConditionType]string{
			corev1.NamespaceDeletionDiscoveryFailure: "Discovery failed for some groups: no answer",
		}},
		{"deletion failed", &remains{deletion: []error{errors.New("pods: no")}}, false, map[corev1.NamespaceConditionType]string{
			corev1.NamespaceDeletionContentFailure: "Failed to delete all resource types, 1 remaining: pods: no",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.left.empty(); got != tc.empty {
				t.Errorf("empty is %v", got)
			}
			got := map[corev1.NamespaceConditionType]string{}
			for _, c := range tc.left.conditions() {
				if c.Status == corev1.ConditionTrue {
					got[c.Type] = c.Message
				}
			}
			if tc.want == nil {
				tc.want = map[corev1.NamespaceConditionType]string{}
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("true conditions (-want +got):\n%s", d)
			}
		})
	}
}

func TestMergeKeepsTheTimeOfAStatus(t *testing.T) {
	early, late := metav1.NewTime(time.Unix(1, 0)), metav1.NewTime(time.Unix(2, 0))
	var status corev1.NamespaceStatus
	if !merge(&status, (&remains{}).conditions(), early) || status.Phase != corev1.NamespaceTerminating {
		t.Fatalf("the first merge changed nothing: %+v", status)
	}
	if merge(&status, (&remains{}).conditions(), late) {
		t.Error("the same conditions are a change")
	}
	merge(&status, (&remains{discovery: errors.New("x")}).conditions(), late)
	for _, c := range status.Conditions {
		want := early
		if c.Type == corev1.NamespaceDeletionDiscoveryFailure {
			want = late
		}
		if c.LastTransitionTime != want {
			t.Errorf("%s changed at %v, want %v", c.Type, c.LastTransitionTime, want)
		}
	}
}

func TestAgain(t *testing.T) {
	for elapsed, want := range map[time.Duration]time.Duration{0: soonest, 10 * time.Second: time.Second, time.Hour: latest} {
		if got := again(elapsed); got != want {
			t.Errorf("after %v again in %v, want %v", elapsed, got, want)
		}
	}
}
