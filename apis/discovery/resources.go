// Package discovery declares the endpoint slice.
package discovery

import (
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"coracle.dev/coracle/apis/resource"
)

// Resources lists the resources of the group.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{endpointSlices.Describe()}
}

var endpointSlices = resource.Resource[*discoveryv1.EndpointSlice]{
	Version: discoveryv1.SchemeGroupVersion, Kind: "EndpointSlice", Plural: "endpointslices",
	New:              func() *discoveryv1.EndpointSlice { return &discoveryv1.EndpointSlice{} },
	NewList:          func() runtime.Object { return &discoveryv1.EndpointSliceList{} },
	Default:          defaultEndpointSlice,
	PrepareForCreate: func(s *discoveryv1.EndpointSlice) { s.Generation = 1 },
	PrepareForUpdate: raiseGeneration,
	Columns:          endpointSliceColumns,
	Validate:         validateEndpointSlice,
	ValidateUpdate:   validateEndpointSliceUpdate,
}
