package resource

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var thing = Resource[*metav1.PartialObjectMetadata]{
	Version: schema.GroupVersion{Group: "g", Version: "v2"}, AlsoServed: []schema.GroupVersion{{Group: "g", Version: "v1"}},
	Kind: "Thing", Plural: "things",
	New:     func() *metav1.PartialObjectMetadata { return &metav1.PartialObjectMetadata{} },
	NewList: func() runtime.Object { return &metav1.PartialObjectMetadataList{} },
	Status:  func(o *metav1.PartialObjectMetadata) any { return &o.Annotations },
	Default: func(o *metav1.PartialObjectMetadata) { SetDefault(&o.GenerateName, "x-") },
	Columns: []Column[*metav1.PartialObjectMetadata]{Name[*metav1.PartialObjectMetadata](), Age[*metav1.PartialObjectMetadata]().Wide()},
}

func TestDescribe(t *testing.T) {
	d := thing.Describe()
	o := d.New().(*metav1.PartialObjectMetadata)
	o.Name = "a"
	// No hook is nil, whether the resource sets it or not.
	d.Default(o)
	d.PrepareForCreate(o)
	d.PrepareForUpdate(o, o)
	if o.GenerateName != "x-" {
		t.Error("the default hook was not called")
	}
	if n := len(d.Validate(o)) + len(d.ValidateUpdate(o, o)) + len(d.ValidateStatusUpdate(o, o)) + len(d.Warnings(o)) + len(d.Fields(o)); n != 0 {
		t.Errorf("%d faults, warnings or fields of a resource that declares none", n)
	}
	if d.Singular != "thing" || !d.HasStatus || d.Scale != nil || d.Spec != nil {
		t.Errorf("singular %q, status %v, scale %v", d.Singular, d.HasStatus, d.Scale)
	}
	if len(d.ValidateName("A", false)) == 0 || len(d.ValidateName("a.b", false)) != 0 {
		t.Error("names are not checked as DNS subdomains by default")
	}
	if got := d.Columns[0].Value(o); got != "a" || d.Columns[1].Priority != 1 {
		t.Errorf("columns %v, name %v", d.Columns, got)
	}
	if diff := cmp.Diff([]schema.GroupVersion{{Group: "g", Version: "v2"}, {Group: "g", Version: "v1"}}, d.Served()); diff != "" {
		t.Errorf("served (-want +got):\n%s", diff)
	}
}

func TestShorten(t *testing.T) {
	for _, c := range []struct {
		parts []string
		want  string
	}{{nil, ""}, {[]string{"a", "b"}, "a,b"}, {[]string{"a", "b", "c", "d"}, "a,b + 2 more..."}} {
		if got := Shorten(c.parts, 2, ","); got != c.want {
			t.Errorf("%q: got %q, want %q", c.parts, got, c.want)
		}
	}
}

func TestChecks(t *testing.T) {
	at := field.NewPath("f")
	for name, c := range map[string]struct {
		errs field.ErrorList
		want string
	}{
		"one of":         {OneOf(at, "b", "a", "b"), ""},
		"one of none":    {OneOf(at, "", "a"), "f: Required value"},
		"one of others":  {OneOf(at, "c", "b", "a"), `f: Unsupported value: "c": supported values: "b", "a"`},
		"empty allowed":  {OneOf(at, "", "", "a"), ""},
		"negative":       {NotNegative(at, -1), "f: Invalid value: -1: must be greater than or equal to 0"},
		"no number":      {NotNegativePointer[int32](at, nil), ""},
		"absolute":       {RelativePath(at, "/a"), `f: Invalid value: "/a": must be a relative path`},
		"back":           {NoBacksteps(at, "a/../b"), `f: Invalid value: "a/../b": must not contain '..'`},
		"dots in a name": {NoBacksteps(at, "a..b"), ""},
		"changed":        {Unchanged(at, 1, 2), "f: Invalid value: 1: field is immutable"},
		"nil is empty":   {Unchanged(at, []string{}, []string(nil)), ""},
		"duplicate":      {Unique(at, []string{"a", "", "", "a"}, "name", func(s *string) string { return *s }), `f[3].name: Duplicate value: "a"`},
		"segment":        {Messages(at, "a/b", PathSegmentName("a/b", false)), `f: Invalid value: "a/b": may not contain '/'`},
	} {
		got := ""
		if len(c.errs) > 0 {
			got = c.errs.ToAggregate().Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
