// Package node declares the runtime class.
package node

import (
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"coracle.dev/coracle/apis/resource"
)

// Resources lists the resources of the group.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{runtimeClasses.Describe()}
}

var runtimeClasses = resource.Resource[*nodev1.RuntimeClass]{
	Version: nodev1.SchemeGroupVersion, Kind: "RuntimeClass", Plural: "runtimeclasses", ClusterScoped: true,
	New:                    func() *nodev1.RuntimeClass { return &nodev1.RuntimeClass{} },
	NewList:                func() runtime.Object { return &nodev1.RuntimeClassList{} },
	RequireResourceVersion: true,
	Default:                defaultRuntimeClass,
	Columns:                runtimeClassColumns,
	Validate:               validateRuntimeClass,
	ValidateUpdate:         validateRuntimeClassUpdate,
}
