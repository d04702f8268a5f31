package storage

import (
	"strings"

	storagev1 "k8s.io/api/storage/v1"

	"coracle.dev/coracle/apis/resource"
)

// defaultClassAnnotation marks the class of claims that name none; the second form is older.
const (
	defaultClassAnnotation     = "storageclass.kubernetes.io/is-default-class"
	betaDefaultClassAnnotation = "storageclass.beta.kubernetes.io/is-default-class"
)

var driverColumns = []resource.Column[*storagev1.CSIDriver]{
	resource.Name[*storagev1.CSIDriver](),
	// Drivers of before the field had a default are attached.
	resource.Flag("AttachRequired", func(d *storagev1.CSIDriver) bool { return d.Spec.AttachRequired == nil || *d.Spec.AttachRequired }),
	resource.Flag("PodInfoOnMount", func(d *storagev1.CSIDriver) bool { return resource.Deref(d.Spec.PodInfoOnMount) }),
	resource.Flag("StorageCapacity", func(d *storagev1.CSIDriver) bool { return resource.Deref(d.Spec.StorageCapacity) }),
	resource.Text("TokenRequests", func(d *storagev1.CSIDriver) any {
		var out []string
		for _, r := range d.Spec.TokenRequests {
			out = append(out, resource.Or(r.Audience, `""`))
		}
		return resource.Or(strings.Join(out, ","), resource.Unset)
	}),
	resource.Flag("RequiresRepublish", func(d *storagev1.CSIDriver) bool { return resource.Deref(d.Spec.RequiresRepublish) }),
	resource.Text("Modes", func(d *storagev1.CSIDriver) any {
		var out []string
		for _, m := range d.Spec.VolumeLifecycleModes {
			out = append(out, string(m))
		}
		return resource.OrNone(strings.Join(out, ","))
	}),
	resource.Age[*storagev1.CSIDriver](),
}

var csiNodeColumns = []resource.Column[*storagev1.CSINode]{
	resource.Name[*storagev1.CSINode](),
	resource.Number("Drivers", func(n *storagev1.CSINode) int { return len(n.Spec.Drivers) }),
	resource.Age[*storagev1.CSINode](),
}

var capacityColumns = []resource.Column[*storagev1.CSIStorageCapacity]{
	resource.Name[*storagev1.CSIStorageCapacity](),
	resource.Text("StorageClassName", func(c *storagev1.CSIStorageCapacity) any { return c.StorageClassName }),
	resource.Text("Capacity", func(c *storagev1.CSIStorageCapacity) any {
		if c.Capacity == nil {
			return resource.Unset
		}
		return c.Capacity.String()
	}),
}

var storageClassColumns = []resource.Column[*storagev1.StorageClass]{
	{Name: "Name", Type: "string", Format: "name", Value: func(c *storagev1.StorageClass) any {
		if c.Annotations[defaultClassAnnotation] == "true" || c.Annotations[betaDefaultClassAnnotation] == "true" {
			return c.Name + " (default)"
		}
		return c.Name
	}},
	resource.Text("Provisioner", func(c *storagev1.StorageClass) any { return c.Provisioner }),
	resource.Text("ReclaimPolicy", func(c *storagev1.StorageClass) any {
		return resource.Or(string(resource.Deref(c.ReclaimPolicy)), "Delete")
	}),
	resource.Text("VolumeBindingMode", func(c *storagev1.StorageClass) any {
		return resource.Or(string(resource.Deref(c.VolumeBindingMode)), "Immediate")
	}),
	resource.Flag("AllowVolumeExpansion", func(c *storagev1.StorageClass) bool { return resource.Deref(c.AllowVolumeExpansion) }),
	resource.Age[*storagev1.StorageClass](),
}

var attachmentColumns = []resource.Column[*storagev1.VolumeAttachment]{
	resource.Name[*storagev1.VolumeAttachment](),
	resource.Text("Attacher", func(a *storagev1.VolumeAttachment) any { return a.Spec.Attacher }),
	resource.Text("PV", func(a *storagev1.VolumeAttachment) any { return resource.Deref(a.Spec.Source.PersistentVolumeName) }),
	resource.Text("Node", func(a *storagev1.VolumeAttachment) any { return a.Spec.NodeName }),
	resource.Flag("Attached", func(a *storagev1.VolumeAttachment) bool { return a.Status.Attached }),
	resource.Age[*storagev1.VolumeAttachment](),
}

var attributesClassColumns = []resource.Column[*storagev1.VolumeAttributesClass]{
	resource.Name[*storagev1.VolumeAttributesClass](),
	resource.Text("DriverName", func(c *storagev1.VolumeAttributesClass) any { return c.DriverName }),
	resource.Age[*storagev1.VolumeAttributesClass](),
}
