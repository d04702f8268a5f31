package node

import (
	"maps"
	"slices"

	nodev1 "k8s.io/api/node/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

func validateRuntimeClass(c *nodev1.RuntimeClass) field.ErrorList {
	errs := resource.DNSLabel(field.NewPath("handler"), c.Handler)
	if c.Overhead != nil {
		path := field.NewPath("overhead", "podFixed")
		for _, n := range slices.Sorted(maps.Keys(c.Overhead.PodFixed)) {
			errs = append(errs, pod.CheckResourceName(path.Key(string(n)), n)...)
			errs = append(errs, pod.CheckQuantity(path.Key(string(n)), n, c.Overhead.PodFixed[n])...)
		}
	}
	if s := c.Scheduling; s != nil {
		path := field.NewPath("scheduling")
		errs = append(errs, metavalidation.ValidateLabels(s.NodeSelector, path.Child("nodeSelector"))...)
		errs = append(errs, pod.CheckTolerations(path.Child("tolerations"), s.Tolerations)...)
	}
	return errs
}

func validateRuntimeClassUpdate(c, old *nodev1.RuntimeClass) field.ErrorList {
	return append(validateRuntimeClass(c), resource.Unchanged(field.NewPath("handler"), c.Handler, old.Handler)...)
}
