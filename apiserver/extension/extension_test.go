package extension

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"coracle.dev/coracle/apis/catalog"
)

func TestEveryServedVersionHasAPriority(t *testing.T) {
	for _, d := range catalog.Resources() {
		for _, gv := range d.Served() {
			if _, ok := priorities[gv]; !ok {
				t.Errorf("%s has no priority, so it would rank with custom resources", gv)
			}
		}
	}
}

func TestGroupVersions(t *testing.T) {
	got := groupVersions([]string{"/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/healthz", "/openapi/v3/apis/apps/v1"})
	want := []schema.GroupVersion{{Version: "v1"}, {Group: "apps", Version: "v1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// recorder is the registration that a controller would keep.
type recorder map[string]bool

func (r recorder) AddAPIServiceToSyncOnStart(s *apiregistrationv1.APIService) { r[s.Name] = true }
func (r recorder) AddAPIServiceToSync(s *apiregistrationv1.APIService)        { r[s.Name] = true }
func (r recorder) RemoveAPIServiceToSync(name string)                         { delete(r, name) }

func TestDefinitionsShareGroupVersions(t *testing.T) {
	v1, v2 := schema.GroupVersion{Group: "example.com", Version: "v1"}, schema.GroupVersion{Group: "example.com", Version: "v2"}
	r := recorder{}
	d := &definitions{services: r, served: map[schema.GroupVersion]map[string]bool{}}
	for _, step := range []struct {
		name   string
		serves []schema.GroupVersion
		want   []string
	}{
		{"widgets", []schema.GroupVersion{v1}, []string{"v1.example.com"}},
		{"gadgets", []schema.GroupVersion{v1, v2}, []string{"v1.example.com", "v2.example.com"}},
		{"widgets", nil, []string{"v1.example.com", "v2.example.com"}},
		{"gadgets", []schema.GroupVersion{v2}, []string{"v2.example.com"}},
		{"gadgets", []schema.GroupVersion{v2}, []string{"v2.example.com"}},
		{"gadgets", nil, nil},
	} {
		d.set(step.name, step.serves)
		if diff := cmp.Diff(step.want, slices.Sorted(maps.Keys(r))); diff != "" {
			t.Errorf("after %s serves %v:\n%s", step.name, step.serves, diff)
		}
	}
}
