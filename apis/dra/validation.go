package dra

import (
	"context"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/operation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// The rules are those that the API types declare, as generated beside them; here they are called, and
// completed by what the markers cannot say.

var specPath = field.NewPath("spec")

// options names the feature gates that the rules ask after; the alpha ones are off.
var (
	options  = map[string]bool{"DRAPartitionableDevicesType": false}
	creation = operation.Operation{Type: operation.Create, Options: options}
	change   = operation.Operation{Type: operation.Update, Options: options}
)

func validateClaim(c *resourcev1.ResourceClaim) field.ErrorList {
	errs := resourcev1.Validate_ResourceClaimSpec(context.Background(), creation, specPath, &c.Spec, nil)
	return append(errs, checkDevices(specPath.Child("devices"), &c.Spec.Devices)...)
}

func validateClaimUpdate(c, old *resourcev1.ResourceClaim) field.ErrorList {
	return resource.Unchanged(specPath, c.Spec, old.Spec)
}

func validateClaimStatus(c, old *resourcev1.ResourceClaim) field.ErrorList {
	return resourcev1.Validate_ResourceClaimStatus(context.Background(), change,
		field.NewPath("status"), &c.Status, &old.Status)
}

func validateClaimTemplate(t *resourcev1.ResourceClaimTemplate) field.ErrorList {
	errs := resourcev1.Validate_ResourceClaimTemplateSpec(context.Background(), creation, specPath, &t.Spec, nil)
	return append(errs, checkDevices(specPath.Child("spec", "devices"), &t.Spec.Spec.Devices)...)
}

func validateClaimTemplateUpdate(t, old *resourcev1.ResourceClaimTemplate) field.ErrorList {
	return resource.Unchanged(specPath, t.Spec, old.Spec)
}

func validateClass(c *resourcev1.DeviceClass) field.ErrorList {
	return resourcev1.Validate_DeviceClassSpec(context.Background(), creation, specPath, &c.Spec, nil)
}

func validateClassUpdate(c, old *resourcev1.DeviceClass) field.ErrorList {
	return resourcev1.Validate_DeviceClassSpec(context.Background(), change, specPath, &c.Spec, &old.Spec)
}

func validateSlice(s *resourcev1.ResourceSlice) field.ErrorList {
	errs := resourcev1.Validate_ResourceSliceSpec(context.Background(), creation, specPath, &s.Spec, nil)
	return append(errs, checkSlice(s)...)
}

func validateSliceUpdate(s, old *resourcev1.ResourceSlice) field.ErrorList {
	errs := resourcev1.Validate_ResourceSliceSpec(context.Background(), change, specPath, &s.Spec, &old.Spec)
	errs = append(errs, resource.Unchanged(specPath.Child("driver"), s.Spec.Driver, old.Spec.Driver)...)
	errs = append(errs, resource.Unchanged(specPath.Child("nodeName"), s.Spec.NodeName, old.Spec.NodeName)...)
	return append(errs, checkSlice(s)...)
}

// checkDevices: requests are named once each, and say what they want in one way.
func checkDevices(path *field.Path, d *resourcev1.DeviceClaim) field.ErrorList {
	return resource.Each(path.Child("requests"), d.Requests, func(at *field.Path, r *resourcev1.DeviceRequest) field.ErrorList {
		errs := resource.NotEmpty(at.Child("name"), r.Name)
		if r.Name != "" {
			errs = resource.DNSLabel(at.Child("name"), r.Name)
		}
		switch {
		case r.Exactly == nil && len(r.FirstAvailable) == 0:
			errs = append(errs, field.Required(at, "exactly one of `exactly` or `firstAvailable` is required"))
		case r.Exactly != nil && len(r.FirstAvailable) > 0:
			errs = append(errs, field.Invalid(at, nil, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"))
		case r.Exactly != nil:
			errs = append(errs, checkExactly(at.Child("exactly"), r.Exactly)...)
		}
		return errs
	})
}

func checkExactly(path *field.Path, e *resourcev1.ExactDeviceRequest) field.ErrorList {
	errs := resource.NotEmpty(path.Child("deviceClassName"), e.DeviceClassName)
	switch at := path.Child("count"); e.AllocationMode {
	case resourcev1.DeviceAllocationModeExactCount:
		if e.Count <= 0 {
			errs = append(errs, field.Invalid(at, e.Count, "must be greater than zero"))
		}
	case resourcev1.DeviceAllocationModeAll:
		if e.Count != 0 {
			errs = append(errs, field.Invalid(at, e.Count, "must not be specified when allocationMode is 'All'"))
		}
	}
	return errs
}

// checkSlice: a slice says in one way which nodes its devices are for.
func checkSlice(s *resourcev1.ResourceSlice) field.ErrorList {
	errs := resource.NotEmpty(specPath.Child("driver"), s.Spec.Driver)
	if s.Spec.Driver != "" {
		errs = append(errs, resource.DNSSubdomain(specPath.Child("driver"), s.Spec.Driver)...)
	}
	ways := 0
	for _, set := range []bool{
		resource.Deref(s.Spec.NodeName) != "", s.Spec.NodeSelector != nil, resource.Deref(s.Spec.AllNodes), resource.Deref(s.Spec.PerDeviceNodeSelection),
	} {
		if set {
			ways++
		}
	}
	if ways != 1 && len(s.Spec.SharedCounters) == 0 {
		errs = append(errs, field.Required(specPath, "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"))
	}
	return errs
}
