package storage

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"coracle.dev/coracle/apis/resource"
)

func defaultStorageClass(c *storagev1.StorageClass) {
	resource.SetPointer(&c.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete)
	resource.SetPointer(&c.VolumeBindingMode, storagev1.VolumeBindingImmediate)
}

func defaultDriver(d *storagev1.CSIDriver) {
	s := &d.Spec
	resource.SetPointer(&s.AttachRequired, true)
	resource.SetPointer(&s.PodInfoOnMount, false)
	resource.SetPointer(&s.StorageCapacity, false)
	resource.SetPointer(&s.FSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)
	resource.SetPointer(&s.RequiresRepublish, false)
	resource.SetPointer(&s.SELinuxMount, false)
	if len(s.VolumeLifecycleModes) == 0 {
		s.VolumeLifecycleModes = []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}
	}
}
