// Package catalog is the one explicit list of the built-in resources, and the scheme made from it.
//
// The external v1 Go types are the hub: each type is registered under its served version and again
// under <group>/__internal, so that no internal types and no conversions between equal types are
// needed. Where a group serves two versions (autoscaling) or a second view of another group's
// resource (events.k8s.io), conversions lead to and from the hub.
//
// Differences from Kubernetes: alpha and beta versions are not served, save for some that were removed and
// that manifests still name (package removed). The kinds of
// apiextensions.k8s.io and apiregistration.k8s.io come with their own servers and schemes.
package catalog

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/admissionregistration"
	"coracle.dev/coracle/apis/apps"
	"coracle.dev/coracle/apis/autoscaling"
	"coracle.dev/coracle/apis/batch"
	"coracle.dev/coracle/apis/certificates"
	"coracle.dev/coracle/apis/coordination"
	"coracle.dev/coracle/apis/core"
	"coracle.dev/coracle/apis/discovery"
	"coracle.dev/coracle/apis/dra"
	"coracle.dev/coracle/apis/events"
	"coracle.dev/coracle/apis/flowcontrol"
	"coracle.dev/coracle/apis/networking"
	"coracle.dev/coracle/apis/node"
	"coracle.dev/coracle/apis/policy"
	"coracle.dev/coracle/apis/rbac"
	"coracle.dev/coracle/apis/resource"
	"coracle.dev/coracle/apis/scheduling"
	"coracle.dev/coracle/apis/storage"
)

// Resources lists every stored resource, group by group in discovery order. Each call returns new
// descriptors, which the caller may change.
func Resources() []*resource.Descriptor {
	all := slices.Concat(
		core.Resources(),
		events.Resources(),
		apps.Resources(),
		autoscaling.Resources(),
		batch.Resources(),
		certificates.Resources(),
		networking.Resources(),
		policy.Resources(),
		rbac.Resources(),
		storage.Resources(),
		admissionregistration.Resources(),
		scheduling.Resources(),
		coordination.Resources(),
		node.Resources(),
		discovery.Resources(),
		flowcontrol.Resources(),
		dra.Resources(),
	)
	completeViews(all)
	return withRemoved(all)
}

// completeViews gives a second view of a resource what its group, which must not import the other,
// cannot know: the objects are the same, so are their columns, and what holds of the one view holds of
// the other.
func completeViews(all []*resource.Descriptor) {
	for _, view := range all {
		if view.StoredAs.Empty() {
			continue
		}
		for _, d := range all {
			if d.GroupResource() == view.StoredAs {
				view.Columns = d.Columns
				view.Validate = both(d.Validate, view.Validate)
				view.ValidateUpdate = bothUpdates(d.ValidateUpdate, view.ValidateUpdate)
			}
		}
	}
}

func both(a, b func(runtime.Object) field.ErrorList) func(runtime.Object) field.ErrorList {
	return func(o runtime.Object) field.ErrorList { return append(a(o), b(o)...) }
}

func bothUpdates(a, b func(obj, old runtime.Object) field.ErrorList) func(obj, old runtime.Object) field.ErrorList {
	return func(obj, old runtime.Object) field.ErrorList { return append(a(obj, old), b(obj, old)...) }
}
