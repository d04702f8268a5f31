// Package dra declares the resources of resource.k8s.io, dynamic resource allocation: device classes,
// claims, claim templates and the slices in which drivers publish devices.
package dra

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"coracle.dev/coracle/apis/resource"
)

var v1 = resourcev1.SchemeGroupVersion

// Resources lists the resources of the group, in discovery order.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{
		deviceClasses.Describe(), resourceClaims.Describe(), resourceClaimTemplates.Describe(), resourceSlices.Describe(),
	}
}

var deviceClasses = resource.Resource[*resourcev1.DeviceClass]{
	Version: v1, Kind: "DeviceClass", Plural: "deviceclasses", ClusterScoped: true,
	New:            func() *resourcev1.DeviceClass { return &resourcev1.DeviceClass{} },
	NewList:        func() runtime.Object { return &resourcev1.DeviceClassList{} },
	Spec:           func(o *resourcev1.DeviceClass) any { return &o.Spec },
	Validate:       validateClass,
	ValidateUpdate: validateClassUpdate,
}

var resourceClaims = resource.Resource[*resourcev1.ResourceClaim]{
	Version: v1, Kind: "ResourceClaim", Plural: "resourceclaims",
	New:                  func() *resourcev1.ResourceClaim { return &resourcev1.ResourceClaim{} },
	NewList:              func() runtime.Object { return &resourcev1.ResourceClaimList{} },
	Spec:                 func(o *resourcev1.ResourceClaim) any { return &o.Spec },
	Status:               func(o *resourcev1.ResourceClaim) any { return &o.Status },
	NoGeneration:         true,
	Default:              defaultClaim,
	Columns:              claimColumns,
	Validate:             validateClaim,
	ValidateUpdate:       validateClaimUpdate,
	ValidateStatusUpdate: validateClaimStatus,
}

var resourceClaimTemplates = resource.Resource[*resourcev1.ResourceClaimTemplate]{
	Version: v1, Kind: "ResourceClaimTemplate", Plural: "resourceclaimtemplates",
	New:            func() *resourcev1.ResourceClaimTemplate { return &resourcev1.ResourceClaimTemplate{} },
	NewList:        func() runtime.Object { return &resourcev1.ResourceClaimTemplateList{} },
	Spec:           func(o *resourcev1.ResourceClaimTemplate) any { return &o.Spec },
	NoGeneration:   true,
	Default:        defaultClaimTemplate,
	Validate:       validateClaimTemplate,
	ValidateUpdate: validateClaimTemplateUpdate,
}

var resourceSlices = resource.Resource[*resourcev1.ResourceSlice]{
	Version: v1, Kind: "ResourceSlice", Plural: "resourceslices", ClusterScoped: true,
	New:     func() *resourcev1.ResourceSlice { return &resourcev1.ResourceSlice{} },
	NewList: func() runtime.Object { return &resourcev1.ResourceSliceList{} },
	Spec:    func(o *resourcev1.ResourceSlice) any { return &o.Spec },
	Fields: func(o *resourcev1.ResourceSlice) fields.Set {
		set := fields.Set{"spec.driver": o.Spec.Driver, "spec.nodeName": ""}
		if o.Spec.NodeName != nil {
			set["spec.nodeName"] = *o.Spec.NodeName
		}
		return set
	},
	FieldNames:     []string{"spec.driver", "spec.nodeName"},
	Indexed:        "spec.nodeName",
	Default:        defaultSlice,
	Columns:        sliceColumns,
	Validate:       validateSlice,
	ValidateUpdate: validateSliceUpdate,
}
