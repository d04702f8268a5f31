package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/apis/resource"
)

var persistentVolumeColumns = []resource.Column[*corev1.PersistentVolume]{
	resource.Name[*corev1.PersistentVolume](),
	resource.Text("Capacity", func(v *corev1.PersistentVolume) any { return v.Spec.Capacity.Storage().String() }),
	resource.Text("Access Modes", func(v *corev1.PersistentVolume) any { return accessModes(v.Spec.AccessModes) }),
	resource.Text("Reclaim Policy", func(v *corev1.PersistentVolume) any { return string(v.Spec.PersistentVolumeReclaimPolicy) }),
	resource.Text("Status", func(v *corev1.PersistentVolume) any {
		if v.DeletionTimestamp != nil {
			return "Terminating"
		}
		return string(v.Status.Phase)
	}),
	resource.Text("Claim", func(v *corev1.PersistentVolume) any {
		if ref := v.Spec.ClaimRef; ref != nil {
			return ref.Namespace + "/" + ref.Name
		}
		return ""
	}),
	resource.Text("StorageClass", func(v *corev1.PersistentVolume) any {
		return resource.Or(v.Annotations[corev1.BetaStorageClassAnnotation], v.Spec.StorageClassName)
	}),
	resource.Text("VolumeAttributesClass", func(v *corev1.PersistentVolume) any { return textOr(v.Spec.VolumeAttributesClassName, resource.Unset) }),
	resource.Text("Reason", func(v *corev1.PersistentVolume) any { return v.Status.Reason }),
	resource.Age[*corev1.PersistentVolume](),
	resource.Text("VolumeMode", func(v *corev1.PersistentVolume) any { return textOr(v.Spec.VolumeMode, resource.Unset) }).Wide(),
}

var persistentVolumeClaimColumns = []resource.Column[*corev1.PersistentVolumeClaim]{
	resource.Name[*corev1.PersistentVolumeClaim](),
	resource.Text("Status", func(c *corev1.PersistentVolumeClaim) any {
		if c.DeletionTimestamp != nil {
			return "Terminating"
		}
		return string(c.Status.Phase)
	}),
	resource.Text("Volume", func(c *corev1.PersistentVolumeClaim) any { return c.Spec.VolumeName }),
	resource.Text("Capacity", func(c *corev1.PersistentVolumeClaim) any {
		if c.Spec.VolumeName == "" {
			return ""
		}
		return c.Status.Capacity.Storage().String()
	}),
	resource.Text("Access Modes", func(c *corev1.PersistentVolumeClaim) any {
		if c.Spec.VolumeName == "" {
			return ""
		}
		return accessModes(c.Status.AccessModes)
	}),
	resource.Text("StorageClass", func(c *corev1.PersistentVolumeClaim) any {
		if class, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
			return class
		}
		return textOr(c.Spec.StorageClassName, "")
	}),
	resource.Text("VolumeAttributesClass", func(c *corev1.PersistentVolumeClaim) any {
		return textOr(c.Spec.VolumeAttributesClassName, resource.Unset)
	}),
	resource.Age[*corev1.PersistentVolumeClaim](),
	resource.Text("VolumeMode", func(c *corev1.PersistentVolumeClaim) any { return textOr(c.Spec.VolumeMode, resource.Unset) }).Wide(),
}

var accessModeNames = []struct {
	mode  corev1.PersistentVolumeAccessMode
	short string
}{
	{corev1.ReadWriteOnce, "RWO"}, {corev1.ReadOnlyMany, "ROX"}, {corev1.ReadWriteMany, "RWX"}, {corev1.ReadWriteOncePod, "RWOP"},
}

func accessModes(modes []corev1.PersistentVolumeAccessMode) string {
	var out []string
	for _, m := range accessModeNames {
		if slices.Contains(modes, m.mode) {
			out = append(out, m.short)
		}
	}
	return strings.Join(out, ",")
}

func textOr[S ~string](p *S, other string) string {
	if p == nil {
		return other
	}
	return string(*p)
}
