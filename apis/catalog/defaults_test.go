package catalog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"
)

// TestDefaults reads each file of testdata/defaults: what a user writes, a line "=>", and what the
// API then shows, metadata.creationTimestamp aside.
func TestDefaults(t *testing.T) {
	s := NewScheme()
	decoder := serializer.NewCodecFactory(s).UniversalDecoder()
	files, err := filepath.Glob("testdata/defaults/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in, want, ok := strings.Cut(string(text), "\n=>\n")
			if !ok {
				t.Fatal("no line => in the file")
			}
			obj, gvk, err := decoder.Decode([]byte(in), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := asMap(t, s, obj, *gvk)
			var expect map[string]any
			if err := yaml.Unmarshal([]byte(want), &expect); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(expect, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func asMap(t *testing.T, s *runtime.Scheme, obj runtime.Object, gvk schema.GroupVersionKind) map[string]any {
	t.Helper()
	out, err := s.ConvertToVersion(obj, gvk.GroupVersion())
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := yaml.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	dropEmptyStatus(m)
	return m
}

// dropEmptyStatus leaves out what Go's encoding always writes.
func dropEmptyStatus(m map[string]any) {
	if status, ok := m["status"].(map[string]any); ok && len(status) == 0 {
		delete(m, "status")
	}
}
