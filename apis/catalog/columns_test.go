package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"coracle.dev/coracle/apis/resource"
)

// TestColumns reads testdata/columns: objects, one YAML document each, and the row of each with all
// columns, wide ones in brackets, as "Name=value" lines after "=>".
func TestColumns(t *testing.T) {
	s := NewScheme()
	decoder := serializer.NewCodecFactory(s).UniversalDecoder(internalVersions()...)
	byKind := map[schema.GroupKind]*resource.Descriptor{}
	for _, d := range Resources() {
		byKind[d.GroupVersionKind().GroupKind()] = d
	}
	files, err := filepath.Glob("testdata/columns/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, doc := range strings.Split(string(text), "\n---\n") {
			t.Run(fmt.Sprintf("%s %d", filepath.Base(file), i), func(t *testing.T) {
				in, want, ok := strings.Cut(doc, "\n=>\n")
				if !ok {
					t.Fatal("no line => in the document")
				}
				obj, gvk, err := decoder.Decode([]byte(in), nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				got := row(byKind[gvk.GroupKind()], obj)
				if diff := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		}
	}
}

func internalVersions() []schema.GroupVersion {
	var out []schema.GroupVersion
	for _, g := range groups {
		out = append(out, schema.GroupVersion{Group: g.versions[0].Group, Version: runtime.APIVersionInternal})
	}
	return out
}

func row(d *resource.Descriptor, obj runtime.Object) []string {
	var out []string
	for _, c := range d.Columns {
		v := c.Value(obj)
		switch t := v.(type) {
		case metav1.Time:
			v = "@" + t.UTC().Format("15:04:05")
			if t.IsZero() {
				v = "@"
			}
		case resource.Aged:
			v = t.Text("@" + t.Since.UTC().Format("15:04:05"))
		}
		name := c.Name
		if c.Priority > 0 {
			name = "[" + name + "]"
		}
		out = append(out, fmt.Sprintf("%s=%v", name, v))
	}
	return out
}

// TestEveryTableHoldsForEmptyObjects: columns must not fail on objects that say nothing.
func TestEveryTableHoldsForEmptyObjects(t *testing.T) {
	for _, d := range Resources() {
		for _, c := range d.Columns {
			switch v := c.Value(d.New()).(type) {
			case string, int64, bool, metav1.Time, resource.Aged:
			default:
				t.Errorf("%s %s gives a %T", d.GroupResource(), c.Name, v)
			}
		}
	}
}
