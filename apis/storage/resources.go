// Package storage declares the resources of storage.k8s.io: storage and attributes classes, CSI
// drivers, nodes and capacities, and volume attachments.
package storage

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"coracle.dev/coracle/apis/resource"
)

var v1 = storagev1.SchemeGroupVersion

// Resources lists the resources of the group, in discovery order.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{
		csiDrivers.Describe(), csiNodes.Describe(), csiStorageCapacities.Describe(), storageClasses.Describe(),
		volumeAttachments.Describe(), volumeAttributesClasses.Describe(),
	}
}

var csiDrivers = resource.Resource[*storagev1.CSIDriver]{
	Version: v1, Kind: "CSIDriver", Plural: "csidrivers", ClusterScoped: true,
	New:                    func() *storagev1.CSIDriver { return &storagev1.CSIDriver{} },
	NewList:                func() runtime.Object { return &storagev1.CSIDriverList{} },
	Spec:                   func(o *storagev1.CSIDriver) any { return &o.Spec },
	RequireResourceVersion: true,
	Default:                defaultDriver,
	Columns:                driverColumns,
	Validate:               validateDriver,
	ValidateUpdate:         validateDriverUpdate,
}

var csiNodes = resource.Resource[*storagev1.CSINode]{
	Version: v1, Kind: "CSINode", Plural: "csinodes", ClusterScoped: true,
	New:                    func() *storagev1.CSINode { return &storagev1.CSINode{} },
	NewList:                func() runtime.Object { return &storagev1.CSINodeList{} },
	Spec:                   func(o *storagev1.CSINode) any { return &o.Spec },
	NoGeneration:           true,
	RequireResourceVersion: true,
	Columns:                csiNodeColumns,
	Validate:               validateCSINode,
	ValidateUpdate:         validateCSINodeUpdate,
}

var csiStorageCapacities = resource.Resource[*storagev1.CSIStorageCapacity]{
	Version: v1, Kind: "CSIStorageCapacity", Plural: "csistoragecapacities",
	New:                    func() *storagev1.CSIStorageCapacity { return &storagev1.CSIStorageCapacity{} },
	NewList:                func() runtime.Object { return &storagev1.CSIStorageCapacityList{} },
	RequireResourceVersion: true,
	Columns:                capacityColumns,
	Validate:               validateCapacity,
	ValidateUpdate:         validateCapacityUpdate,
}

var storageClasses = resource.Resource[*storagev1.StorageClass]{
	Version: v1, Kind: "StorageClass", Plural: "storageclasses", ShortNames: []string{"sc"}, ClusterScoped: true,
	New:            func() *storagev1.StorageClass { return &storagev1.StorageClass{} },
	NewList:        func() runtime.Object { return &storagev1.StorageClassList{} },
	Default:        defaultStorageClass,
	Columns:        storageClassColumns,
	Validate:       validateStorageClass,
	ValidateUpdate: validateStorageClassUpdate,
}

var volumeAttachments = resource.Resource[*storagev1.VolumeAttachment]{
	Version: v1, Kind: "VolumeAttachment", Plural: "volumeattachments", ClusterScoped: true,
	New:                    func() *storagev1.VolumeAttachment { return &storagev1.VolumeAttachment{} },
	NewList:                func() runtime.Object { return &storagev1.VolumeAttachmentList{} },
	Spec:                   func(o *storagev1.VolumeAttachment) any { return &o.Spec },
	Status:                 func(o *storagev1.VolumeAttachment) any { return &o.Status },
	NoGeneration:           true,
	RequireResourceVersion: true,
	Columns:                attachmentColumns,
	Validate:               validateAttachment,
	ValidateUpdate:         validateAttachmentUpdate,
}

var volumeAttributesClasses = resource.Resource[*storagev1.VolumeAttributesClass]{
	Version: v1, Kind: "VolumeAttributesClass", Plural: "volumeattributesclasses", ShortNames: []string{"vac"}, ClusterScoped: true,
	New:            func() *storagev1.VolumeAttributesClass { return &storagev1.VolumeAttributesClass{} },
	NewList:        func() runtime.Object { return &storagev1.VolumeAttributesClassList{} },
	Columns:        attributesClassColumns,
	Validate:       validateAttributesClass,
	ValidateUpdate: validateAttributesClassUpdate,
}
