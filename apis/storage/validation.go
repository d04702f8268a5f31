package storage

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

const maxParameters = 512

var specPath = field.NewPath("spec")

func validateStorageClass(c *storagev1.StorageClass) field.ErrorList {
	errs := resource.NotEmpty(field.NewPath("provisioner"), c.Provisioner)
	if c.Provisioner != "" {
		errs = resource.QualifiedName(field.NewPath("provisioner"), c.Provisioner)
	}
	errs = append(errs, checkParameters(c.Parameters)...)
	if p := c.ReclaimPolicy; p != nil {
		errs = append(errs, resource.Supported(field.NewPath("reclaimPolicy"), *p, corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain)...)
	}
	if c.VolumeBindingMode == nil {
		errs = append(errs, field.Required(field.NewPath("volumeBindingMode"), ""))
	} else {
		errs = append(errs, resource.Supported(field.NewPath("volumeBindingMode"), *c.VolumeBindingMode, storagev1.VolumeBindingImmediate, storagev1.VolumeBindingWaitForFirstConsumer)...)
	}
	return errs
}

func checkParameters(parameters map[string]string) field.ErrorList {
	path := field.NewPath("parameters")
	if len(parameters) > maxParameters {
		return field.ErrorList{field.TooLong(path, "Provisioner Parameters exceeded max allowed", maxParameters)}
	}
	if _, ok := parameters[""]; ok {
		return field.ErrorList{field.Invalid(path, "", "field can not be empty.")}
	}
	return nil
}

func validateStorageClassUpdate(c, old *storagev1.StorageClass) field.ErrorList {
	errs := validateStorageClass(c)
	if !equality.Semantic.DeepEqual(c.Parameters, old.Parameters) {
		errs = append(errs, field.Forbidden(field.NewPath("parameters"), "updates to parameters are forbidden."))
	}
	if c.Provisioner != old.Provisioner {
		errs = append(errs, field.Forbidden(field.NewPath("provisioner"), "updates to provisioner are forbidden."))
	}
	if resource.Deref(c.ReclaimPolicy) != resource.Deref(old.ReclaimPolicy) {
		errs = append(errs, field.Forbidden(field.NewPath("reclaimPolicy"), "updates to reclaimPolicy are forbidden."))
	}
	return append(errs, resource.Unchanged(field.NewPath("volumeBindingMode"), c.VolumeBindingMode, old.VolumeBindingMode)...)
}

func validateAttributesClass(c *storagev1.VolumeAttributesClass) field.ErrorList {
	errs := pod.CheckDriverName(field.NewPath("driverName"), c.DriverName)
	if len(c.Parameters) == 0 {
		return append(errs, field.Required(field.NewPath("parameters"), "must contain at least one key/value pair"))
	}
	return append(errs, checkParameters(c.Parameters)...)
}

func validateAttributesClassUpdate(c, old *storagev1.VolumeAttributesClass) field.ErrorList {
	var errs field.ErrorList
	if c.DriverName != old.DriverName {
		errs = append(errs, field.Forbidden(field.NewPath("driverName"), "updates to driverName are forbidden."))
	}
	if !equality.Semantic.DeepEqual(c.Parameters, old.Parameters) {
		errs = append(errs, field.Forbidden(field.NewPath("parameters"), "updates to parameters are forbidden."))
	}
	return errs
}

func validateDriver(d *storagev1.CSIDriver) field.ErrorList {
	errs := pod.CheckDriverName(field.NewPath("name"), d.Name)
	for name, set := range resource.Sorted(map[string]bool{
		"attachedRequired": d.Spec.AttachRequired != nil, "podInfoOnMount": d.Spec.PodInfoOnMount != nil, "storageCapacity": d.Spec.StorageCapacity != nil,
	}) {
		if !set {
			errs = append(errs, field.Required(specPath.Child(name), ""))
		}
	}
	if p := d.Spec.FSGroupPolicy; p != nil {
		errs = append(errs, resource.Supported(specPath.Child("fsGroupPolicy"), *p, storagev1.FileFSGroupPolicy, storagev1.NoneFSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)...)
	}
	for _, m := range d.Spec.VolumeLifecycleModes {
		errs = append(errs, resource.Supported(specPath.Child("volumeLifecycleModes"), m, storagev1.VolumeLifecycleEphemeral, storagev1.VolumeLifecyclePersistent)...)
	}
	return append(errs, resource.Unique(specPath.Child("tokenRequests"), d.Spec.TokenRequests, "audience", func(r *storagev1.TokenRequest) string { return r.Audience })...)
}

func validateDriverUpdate(d, old *storagev1.CSIDriver) field.ErrorList {
	errs := validateDriver(d)
	errs = append(errs, resource.Unchanged(specPath.Child("attachedRequired"), d.Spec.AttachRequired, old.Spec.AttachRequired)...)
	return append(errs, resource.Unchanged(specPath.Child("volumeLifecycleModes"), d.Spec.VolumeLifecycleModes, old.Spec.VolumeLifecycleModes)...)
}

func validateCSINode(n *storagev1.CSINode) field.ErrorList {
	path := specPath.Child("drivers")
	errs := resource.Each(path, n.Spec.Drivers, func(at *field.Path, d *storagev1.CSINodeDriver) field.ErrorList {
		errs := pod.CheckDriverName(at.Child("name"), d.Name)
		if d.NodeID == "" {
			errs = append(errs, field.Required(at.Child("nodeID"), ""))
		}
		for _, key := range d.TopologyKeys {
			errs = append(errs, resource.Messages(at, key, utilvalidation.IsQualifiedName(key))...)
		}
		if a := d.Allocatable; a != nil {
			errs = append(errs, resource.NotNegativePointer(at.Child("allocatable", "count"), a.Count)...)
		}
		return errs
	})
	return append(errs, resource.Unique(path, n.Spec.Drivers, "name", func(d *storagev1.CSINodeDriver) string { return d.Name })...)
}

// validateCSINodeUpdate: a driver comes and goes; how many volumes it takes may change.
func validateCSINodeUpdate(n, old *storagev1.CSINode) field.ErrorList {
	errs := validateCSINode(n)
	for _, d := range n.Spec.Drivers {
		i := slices.IndexFunc(old.Spec.Drivers, func(o storagev1.CSINodeDriver) bool { return o.Name == d.Name })
		if i < 0 {
			continue
		}
		was := old.Spec.Drivers[i]
		was.Allocatable = d.Allocatable
		if !equality.Semantic.DeepEqual(was, d) {
			errs = append(errs, field.Invalid(field.NewPath("CSINodeDrivers"), d, resource.Immutable))
		}
	}
	return errs
}

func validateCapacity(c *storagev1.CSIStorageCapacity) field.ErrorList {
	errs := resource.Selector(field.NewPath("nodeTopology"), c.NodeTopology)
	errs = append(errs, resource.DNSSubdomain(field.NewPath("storageClassName"), c.StorageClassName)...)
	if c.Capacity != nil {
		errs = append(errs, pod.CheckQuantity(field.NewPath("capacity"), corev1.ResourceStorage, *c.Capacity)...)
	}
	if c.MaximumVolumeSize != nil {
		errs = append(errs, pod.CheckQuantity(field.NewPath("maximumVolumeSize"), corev1.ResourceStorage, *c.MaximumVolumeSize)...)
	}
	return errs
}

func validateCapacityUpdate(c, old *storagev1.CSIStorageCapacity) field.ErrorList {
	errs := validateCapacity(c)
	errs = append(errs, resource.Unchanged(field.NewPath("nodeTopology"), c.NodeTopology, old.NodeTopology)...)
	return append(errs, resource.Unchanged(field.NewPath("storageClassName"), c.StorageClassName, old.StorageClassName)...)
}

func validateAttachment(a *storagev1.VolumeAttachment) field.ErrorList {
	errs := pod.CheckDriverName(specPath.Child("attacher"), a.Spec.Attacher)
	errs = append(errs, resource.DNSSubdomain(specPath.Child("nodeName"), a.Spec.NodeName)...)
	source := specPath.Child("source")
	switch {
	case a.Spec.Source.InlineVolumeSpec != nil && a.Spec.Source.PersistentVolumeName != nil:
		errs = append(errs, field.Forbidden(source, "may not specify both `inlineVolumeSpec` and `persistentVolumeName`"))
	case a.Spec.Source.InlineVolumeSpec == nil && resource.Deref(a.Spec.Source.PersistentVolumeName) == "":
		errs = append(errs, field.Required(source.Child("persistentVolumeName"), "must specify non empty persistentVolumeName"))
	}
	return errs
}

func validateAttachmentUpdate(a, old *storagev1.VolumeAttachment) field.ErrorList {
	if !equality.Semantic.DeepEqual(a.Spec, old.Spec) {
		return field.ErrorList{field.Invalid(specPath, a.Spec, resource.Immutable)}
	}
	return nil
}
