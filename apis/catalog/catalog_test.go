package catalog

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"coracle.dev/coracle/apis/resource"
)

// notStored are served by the API server itself or by its sister servers.
var notStored = map[string]bool{
	"bindings": true, "componentstatuses": true,
	"authentication.k8s.io": true, "authorization.k8s.io": true,
	"apiextensions.k8s.io": true, "apiregistration.k8s.io": true,
}

// TestResourcesAreThoseOfKubernetes compares names, kinds, scopes, short names, categories and the
// presence of /status and /scale with the list that Kubernetes' discovery gives.
func TestResourcesAreThoseOfKubernetes(t *testing.T) {
	want := readResources(t)
	got := map[string]string{}
	for _, d := range Resources() {
		for _, gv := range d.Served() {
			if !Removed(gv) {
				describeServed(got, d, gv)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resources (-Kubernetes +catalog):\n%s", diff)
	}
}

func describeServed(into map[string]string, d *resource.Descriptor, gv schema.GroupVersion) {
	scope := "Namespaced"
	if d.ClusterScoped {
		scope = "Cluster"
	}
	key := gv.Group + "/" + gv.Version + "/" + d.Plural
	into[key] = strings.Join([]string{d.Kind, scope, strings.Join(d.ShortNames, ","), strings.Join(d.Categories, ",")}, " ")
	if d.HasStatus {
		into[key+"/status"] = ""
	}
	if d.Scale != nil {
		into[key+"/scale"] = ""
	}
}

func readResources(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open("testdata/resources.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]string{}
	for scan := bufio.NewScanner(f); scan.Scan(); {
		c := strings.Split(scan.Text(), "\t")
		if len(c) < 6 || c[0] == "group" || notStored[c[0]] || c[0] == "" && notStored[c[2]] {
			continue
		}
		for len(c) < 8 {
			c = append(c, "")
		}
		key := c[0] + "/" + c[1] + "/" + c[2]
		switch _, sub, _ := strings.Cut(c[2], "/"); sub {
		case "":
			out[key] = strings.Join([]string{c[3], c[4], c[6], c[7]}, " ")
		case "status", "scale":
			out[key] = ""
		}
	}
	return out
}

func TestEveryDescriptorIsComplete(t *testing.T) {
	for _, d := range Resources() {
		t.Run(d.GroupResource().String(), func(t *testing.T) {
			fields := d.Fields(d.New())
			for _, name := range d.FieldNames {
				if _, ok := fields[name]; !ok && d.StoredAs.Empty() {
					t.Errorf("selectable field %s has no value", name)
				}
			}
			for name := range fields {
				if !slices.Contains(d.FieldNames, name) {
					t.Errorf("field %s is not among FieldNames", name)
				}
			}
			if d.Indexed != "" && d.Indexed != "metadata.name" && !slices.Contains(d.FieldNames, d.Indexed) {
				t.Errorf("indexed field %s is not selectable", d.Indexed)
			}
			if _, ok := d.New().(metav1.Object); !ok {
				t.Errorf("%T has no object metadata", d.New())
			}
			if d.Spec != nil && d.Spec(d.New()) == nil || d.Status != nil && d.Status(d.New()) == nil {
				t.Error("spec or status accessor gives nil")
			}
		})
	}
}
