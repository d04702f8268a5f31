// Package coordination declares the lease.
package coordination

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"coracle.dev/coracle/apis/resource"
)

// Resources lists the resources of the group.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{leases.Describe()}
}

var leases = resource.Resource[*coordinationv1.Lease]{
	Version: coordinationv1.SchemeGroupVersion, Kind: "Lease", Plural: "leases",
	New:                 func() *coordinationv1.Lease { return &coordinationv1.Lease{} },
	NewList:             func() runtime.Object { return &coordinationv1.LeaseList{} },
	AllowCreateOnUpdate: true, RequireResourceVersion: true,
	Columns:        leaseColumns,
	Validate:       validateLease,
	ValidateUpdate: validateLeaseUpdate,
}
