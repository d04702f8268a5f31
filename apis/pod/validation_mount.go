package pod

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// checkMounts: a mount's path is its own, and its volume one of the pod's.
func (c *checker) checkMounts(path *field.Path, ctr *corev1.Container) field.ErrorList {
	devices, devicePaths := map[string]bool{}, map[string]bool{}
	for _, d := range ctr.VolumeDevices {
		devices[d.Name], devicePaths[d.DevicePath] = true, true
	}
	taken := map[string]bool{}
	return resource.Each(path.Child("volumeMounts"), ctr.VolumeMounts, func(at *field.Path, m *corev1.VolumeMount) field.ErrorList {
		errs := resource.NotEmpty(at.Child("name"), m.Name)
		if _, ok := c.volumes[m.Name]; !ok {
			errs = append(errs, field.NotFound(at.Child("name"), m.Name))
		}
		errs = append(errs, resource.NotEmpty(at.Child("mountPath"), m.MountPath)...)
		if taken[m.MountPath] {
			errs = append(errs, field.Invalid(at.Child("mountPath"), m.MountPath, "must be unique"))
		}
		taken[m.MountPath] = true
		if devices[m.Name] {
			errs = append(errs, field.Invalid(at.Child("name"), m.Name, "must not already exist in volumeDevices"))
		}
		if devicePaths[m.MountPath] {
			errs = append(errs, field.Invalid(at.Child("mountPath"), m.MountPath, "must not already exist as a path in volumeDevices"))
		}
		return append(errs, checkMount(at, m, ctr)...)
	})
}

func checkMount(path *field.Path, m *corev1.VolumeMount, ctr *corev1.Container) field.ErrorList {
	errs := resource.RelativePath(path.Child("subPath"), m.SubPath)
	if m.SubPathExpr != "" && m.SubPath != "" {
		errs = append(errs, field.Invalid(path.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive"))
	}
	errs = append(errs, resource.RelativePath(path.Child("subPathExpr"), m.SubPathExpr)...)
	if p := m.MountPropagation; p != nil {
		at := path.Child("mountPropagation")
		errs = append(errs, resource.Supported(at, *p,
			corev1.MountPropagationBidirectional, corev1.MountPropagationHostToContainer, corev1.MountPropagationNone)...)
		if *p == corev1.MountPropagationBidirectional && !isPrivileged(ctr.SecurityContext) {
			errs = append(errs, field.Forbidden(at, "Bidirectional mount propagation is available only to privileged containers"))
		}
	}
	if r := m.RecursiveReadOnly; r != nil {
		at := path.Child("recursiveReadOnly")
		errs = append(errs, resource.Supported(at, *r,
			corev1.RecursiveReadOnlyDisabled, corev1.RecursiveReadOnlyIfPossible, corev1.RecursiveReadOnlyEnabled)...)
		if *r != corev1.RecursiveReadOnlyDisabled {
			if !m.ReadOnly {
				errs = append(errs, field.Forbidden(at, "may only be specified when readOnly is true"))
			}
			if p := m.MountPropagation; p != nil && *p != corev1.MountPropagationNone {
				errs = append(errs, field.Forbidden(at, "may only be specified when mountPropagation is None or not specified"))
			}
		}
	}
	return errs
}

// checkDevices: a block device comes from a claim.
func (c *checker) checkDevices(path *field.Path, ctr *corev1.Container) field.ErrorList {
	mounts, mountPaths := map[string]bool{}, map[string]bool{}
	for _, m := range ctr.VolumeMounts {
		mounts[m.Name], mountPaths[m.MountPath] = true, true
	}
	names, paths := map[string]bool{}, map[string]bool{}
	return resource.Each(path, ctr.VolumeDevices, func(at *field.Path, d *corev1.VolumeDevice) field.ErrorList {
		errs := resource.NotEmpty(at.Child("name"), d.Name)
		if names[d.Name] {
			errs = append(errs, field.Invalid(at.Child("name"), d.Name, "must be unique"))
		}
		if v, ok := c.volumes[d.Name]; !ok {
			errs = append(errs, field.NotFound(at.Child("name"), d.Name))
		} else if v.PersistentVolumeClaim == nil && v.Ephemeral == nil {
			errs = append(errs, field.Invalid(at.Child("name"), d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"))
		}
		errs = append(errs, resource.NotEmpty(at.Child("devicePath"), d.DevicePath)...)
		if paths[d.DevicePath] {
			errs = append(errs, field.Invalid(at.Child("devicePath"), d.DevicePath, "must be unique"))
		}
		errs = append(errs, resource.NoBacksteps(at.Child("devicePath"), d.DevicePath)...)
		if mounts[d.Name] {
			errs = append(errs, field.Invalid(at.Child("name"), d.Name, "must not already exist in volumeMounts"))
		}
		if mountPaths[d.DevicePath] {
			errs = append(errs, field.Invalid(at.Child("devicePath"), d.DevicePath, "must not already exist as a path in volumeMounts"))
		}
		names[d.Name], paths[d.DevicePath] = true, true
		return errs
	})
}
