package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// TestValidation reads testdata/validation: objects, one YAML document each, followed by "=>" and by
// what each error begins with. "->" between two objects makes it the update of the first to the
// second, "=status=>" in place of "->" a write to /status.
func TestValidation(t *testing.T) {
	decoder := serializer.NewCodecFactory(NewScheme()).UniversalDecoder(internalVersions()...)
	files, err := filepath.Glob("testdata/validation/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, doc := range strings.Split(string(text), "\n---\n") {
			t.Run(fmt.Sprintf("%s %d", strings.TrimSuffix(filepath.Base(file), ".yaml"), i), func(t *testing.T) {
				in, want, ok := strings.Cut(doc+"\n", "\n=>\n")
				if !ok {
					t.Fatal("no line => in the document")
				}
				compareErrors(t, validateText(t, decoder, in), want)
			})
		}
	}
}

func compareErrors(t *testing.T, errs field.ErrorList, want string) {
	t.Helper()
	expected := strings.FieldsFunc(want, func(r rune) bool { return r == '\n' })
	var got []string
	for _, e := range errs {
		text, _, _ := strings.Cut(e.Error(), "\n")
		if i := slices.IndexFunc(expected, func(w string) bool { return strings.HasPrefix(text, w) }); i >= 0 {
			text = expected[i]
		}
		got = append(got, text)
	}
	slices.Sort(got)
	slices.Sort(expected)
	if diff := cmp.Diff(strings.Join(expected, "\n"), strings.Join(got, "\n")); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

// validateText does what the API server does around the hooks.
func validateText(t *testing.T, decoder runtime.Decoder, text string) field.ErrorList {
	t.Helper()
	read := func(text string) (*resource.Descriptor, runtime.Object) {
		obj, gvk, err := decoder.Decode([]byte(text), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range Resources() {
			if d.Version.Group == gvk.Group && d.Kind == gvk.Kind {
				prepare(d, obj)
				return d, obj
			}
		}
		t.Fatalf("no resource for %s", gvk)
		return nil, nil
	}
	if before, after, ok := strings.Cut(text, "\n=status=>\n"); ok {
		_, old := read(before)
		d, obj := read(after)
		return d.ValidateStatusUpdate(obj, old)
	}
	before, after, update := strings.Cut(text, "\n->\n")
	d, old := read(before)
	if !update {
		meta := validation.ValidateObjectMetaAccessor(old.(metav1.Object), !d.ClusterScoped, d.ValidateName, field.NewPath("metadata"))
		return append(meta, d.Validate(old)...)
	}
	if errs := d.Validate(old); len(errs) > 0 {
		t.Fatalf("the object before the update is not valid: %v", errs.ToAggregate())
	}
	_, obj := read(after)
	d.PrepareForUpdate(obj, old)
	return d.ValidateUpdate(obj, old)
}

func prepare(d *resource.Descriptor, obj runtime.Object) {
	m := obj.(metav1.Object)
	if !d.ClusterScoped && m.GetNamespace() == "" {
		m.SetNamespace("default")
	}
	m.SetUID("0b8f9f4e")
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	d.PrepareForCreate(obj)
}

// TestValidatorsHoldForAnything: no object makes a validator fail other than by errors.
func TestValidatorsHoldForAnything(t *testing.T) {
	s := NewScheme()
	codecs := serializer.NewCodecFactory(s)
	for _, d := range Resources() {
		for seed := range int64(20) {
			obj, old := d.New(), d.New()
			if seed > 0 {
				randomObject(s, codecs, seed).Fill(obj)
				randomObject(s, codecs, seed+1000).Fill(old)
			}
			d.Validate(obj)
			d.ValidateUpdate(obj, old)
			d.ValidateStatusUpdate(obj, old)
		}
	}
}
