package catalog

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"coracle.dev/coracle/apis/removed"
	"coracle.dev/coracle/apis/resource"
)

// withRemoved adds the versions that Kubernetes has removed: to the resource that they are versions of,
// or, where the group is another one, as a second view of it. Short names and categories stay with the
// current groups.
func withRemoved(all []*resource.Descriptor) []*resource.Descriptor {
	for _, k := range removed.Kinds() {
		d := find(all, k.Current)
		if d == nil {
			panic(fmt.Sprintf("%s is served as %s, which is not in the catalog", k.Version, k.Current)) // two tables that disagree
		}
		if k.Version.Group == d.Version.Group {
			d.AlsoServed = append(d.AlsoServed, k.Version)
			continue
		}
		view := *d
		view.Version, view.AlsoServed, view.StoredAs = k.Version, nil, k.Current
		view.ShortNames, view.Categories = nil, nil
		all = append(all, &view)
	}
	return all
}

// Removed reports whether Kubernetes no longer serves the version.
func Removed(gv schema.GroupVersion) bool { return removed.Serves(gv) }

// addRemoved registers the conversions and defaults of the removed versions.
func addRemoved(s *runtime.Scheme) error {
	var errs []error
	all := Resources()
	for _, k := range removed.Kinds() {
		errs = append(errs, k.AddTo(s, find(all, k.Current).Default))
	}
	return errors.Join(errs...)
}

func find(all []*resource.Descriptor, gr schema.GroupResource) *resource.Descriptor {
	for _, d := range all {
		if d.GroupResource() == gr {
			return d
		}
	}
	return nil
}
