package apiserver_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"

	"coracle.dev/coracle/apiserver/apiservertest"
)

// TestDocumentsMatchRoutes compares the prebuilt documents with what discovery lists: they are made
// by hack/openapi.sh, which has to be run again when a path is added.
func TestDocumentsMatchRoutes(t *testing.T) {
	config, _ := apiservertest.Start(t)
	client := discovery.NewDiscoveryClientForConfigOrDie(config)
	_, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	documents, err := client.OpenAPIV3().Paths()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lists {
		root := "/apis/" + l.GroupVersion
		if !strings.Contains(l.GroupVersion, "/") {
			root = "/api/" + l.GroupVersion
		}
		if strings.Contains(l.GroupVersion, ".metrics.k8s.io/") {
			continue // its resources are the names of metrics, which no document could list
		}
		document, ok := documents[root[1:]]
		if !ok {
			t.Errorf("there is no document for %s", root)
			continue
		}
		b, err := document.Schema("application/json")
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Paths map[string]any `json:"paths"`
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wantPaths(root, l.APIResources), havePaths(root, slices.Collect(maps.Keys(doc.Paths)))); diff != "" {
			t.Errorf("%s: run hack/openapi.sh; routes (-) and documents (+) differ:\n%s", root, diff)
		}
	}
}

// wantPaths are the resources and subresources that discovery lists.
func wantPaths(root string, resources []metav1.APIResource) []string {
	var out []string
	for _, r := range resources {
		out = append(out, root+"/"+r.Name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// havePaths reduces the paths of a document to resources and subresources.
func havePaths(root string, paths []string) []string {
	var out []string
	for _, p := range paths {
		rest := strings.TrimPrefix(p, root+"/")
		if rest == "" || strings.HasPrefix(rest, "watch/") {
			continue
		}
		rest = strings.TrimPrefix(rest, "namespaces/{namespace}/")
		rest = strings.TrimSuffix(strings.Replace(rest, "/{name}", "", 1), "/{path}")
		out = append(out, root+"/"+rest)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
