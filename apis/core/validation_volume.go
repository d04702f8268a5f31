package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

func validateClaim(c *corev1.PersistentVolumeClaim) field.ErrorList {
	return pod.ValidateClaimSpec(&c.Spec, field.NewPath("spec"))
}

// validateClaimUpdate: a claim is bound once, and then may grow.
func validateClaimUpdate(c, old *corev1.PersistentVolumeClaim) field.ErrorList {
	path := field.NewPath("spec")
	errs := validateClaim(c)
	rest, was := c.Spec.DeepCopy(), old.Spec.DeepCopy()
	if was.VolumeName == "" {
		rest.VolumeName = was.VolumeName // the binding
	}
	if was.StorageClassName == nil {
		rest.StorageClassName = nil // assigned after the fact, when a default class appears
	}
	if old.Status.Phase == corev1.ClaimBound {
		rest.Resources.Requests = was.Resources.Requests
	}
	rest.VolumeAttributesClassName = was.VolumeAttributesClassName
	if !equality.Semantic.DeepEqual(rest, was) {
		errs = append(errs, field.Forbidden(path, fmt.Sprintf(
			"spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n%v", diff.Diff(was, rest))))
	}
	if was, now := old.Spec.VolumeAttributesClassName, c.Spec.VolumeAttributesClassName; resource.Deref(was) != "" && resource.Deref(now) == "" {
		why := "update from non-nil value to nil is forbidden"
		if now != nil {
			why = "update from non-nil value to an empty string is forbidden"
		}
		errs = append(errs, field.Forbidden(path.Child("volumeAttributesClassName"), why))
	}
	size, oldSize := c.Spec.Resources.Requests[corev1.ResourceStorage], old.Spec.Resources.Requests[corev1.ResourceStorage]
	capacity := old.Status.Capacity[corev1.ResourceStorage]
	if size.Cmp(oldSize) < 0 && size.Cmp(capacity) <= 0 {
		errs = append(errs, field.Forbidden(path.Child("resources", "requests", "storage"), "field can not be less than status.capacity"))
	}
	return errs
}

func validateClaimStatus(c, _ *corev1.PersistentVolumeClaim) field.ErrorList {
	path := field.NewPath("status")
	var errs field.ErrorList
	for n, q := range resource.Sorted(c.Status.Capacity) {
		errs = append(errs, pod.CheckQuantity(path.Child("capacity").Key(string(n)), n, q)...)
	}
	for n, q := range resource.Sorted(c.Status.AllocatedResources) {
		at := path.Child("allocatedResources").Key(string(n))
		errs = append(errs, checkClaimResource(at, n)...)
		errs = append(errs, pod.CheckQuantity(at, n, q)...)
	}
	for n, s := range resource.Sorted(c.Status.AllocatedResourceStatuses) {
		at := path.Child("allocatedResourceStatus").Key(string(n))
		errs = append(errs, checkClaimResource(at, n)...)
		errs = append(errs, resource.Supported(at, s, claimResizing...)...)
	}
	return errs
}

// claimResizing are the states of a claim that grows.
var claimResizing = []corev1.ClaimResourceStatus{
	corev1.PersistentVolumeClaimControllerResizeInProgress, corev1.PersistentVolumeClaimControllerResizeInfeasible,
	corev1.PersistentVolumeClaimNodeResizePending, corev1.PersistentVolumeClaimNodeResizeInProgress, corev1.PersistentVolumeClaimNodeResizeInfeasible,
}

// checkClaimResource: a claim is for storage, or for what others define under a domain of their own.
func checkClaimResource(path *field.Path, n corev1.ResourceName) field.ErrorList {
	errs := resource.QualifiedName(path, string(n))
	if !strings.Contains(string(n), "/") && n != corev1.ResourceStorage || strings.HasPrefix(string(n), corev1.ResourceDefaultNamespacePrefix) {
		errs = append(errs, field.NotSupported(path, n, []corev1.ResourceName{corev1.ResourceStorage}))
	}
	return errs
}

func validateVolume(v *corev1.PersistentVolume) field.ErrorList {
	path, spec := field.NewPath("spec"), &v.Spec
	errs := pod.CheckAccessModes(path.Child("accessModes"), spec.AccessModes)
	capacity := path.Child("capacity")
	switch size, ok := spec.Capacity[corev1.ResourceStorage]; {
	case len(spec.Capacity) == 0:
		errs = append(errs, field.Required(capacity, ""))
	case !ok || len(spec.Capacity) > 1:
		errs = append(errs, field.NotSupported(capacity, spec.Capacity, []corev1.ResourceName{corev1.ResourceStorage}))
	case size.Sign() <= 0:
		errs = append(errs, field.Invalid(capacity.Key("storage"), size.String(), "must be greater than zero"))
	}
	errs = append(errs, resource.Supported(path.Child("persistentVolumeReclaimPolicy"), spec.PersistentVolumeReclaimPolicy,
		corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimRetain)...)
	errs = append(errs, checkVolumeSource(path, spec)...)
	if spec.StorageClassName != "" {
		errs = append(errs, resource.DNSSubdomain(path.Child("storageClassName"), spec.StorageClassName)...)
	}
	if spec.VolumeMode != nil {
		errs = append(errs, resource.Supported(path.Child("volumeMode"), *spec.VolumeMode, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)...)
	}
	if a := spec.NodeAffinity; a != nil {
		if a.Required == nil {
			errs = append(errs, field.Required(path.Child("nodeAffinity", "required"), "must specify required node constraints"))
		} else {
			errs = append(errs, pod.CheckNodeSelector(path.Child("nodeAffinity", "required"), a.Required)...)
		}
	}
	return errs
}

func checkVolumeSource(path *field.Path, spec *corev1.PersistentVolumeSpec) field.ErrorList {
	s := &spec.PersistentVolumeSource
	set := pod.SetFields(s)
	if len(set) == 0 {
		return field.ErrorList{field.Required(path, "must specify a volume type")}
	}
	var errs field.ErrorList
	for _, name := range set[1:] {
		errs = append(errs, field.Forbidden(path.Child(name), "may not specify more than 1 volume type"))
	}
	at := path.Child(set[0])
	switch {
	case s.HostPath != nil:
		errs = append(errs, pod.CheckHostPath(at, s.HostPath)...)
		if s.HostPath.Path == "/" && spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
			errs = append(errs, field.Forbidden(path.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
		}
	case s.NFS != nil:
		errs = append(errs, pod.CheckNFS(at, s.NFS)...)
	case s.Local != nil:
		errs = append(errs, resource.NotEmpty(at.Child("path"), s.Local.Path)...)
		errs = append(errs, resource.NoBacksteps(at.Child("path"), s.Local.Path)...)
		if spec.NodeAffinity == nil {
			errs = append(errs, field.Required(path.Child("nodeAffinity"), "Local volume requires node affinity"))
		}
	case s.CSI != nil:
		errs = append(errs, pod.CheckDriverName(at.Child("driver"), s.CSI.Driver)...)
		errs = append(errs, resource.NotEmpty(at.Child("volumeHandle"), s.CSI.VolumeHandle)...)
		for name, ref := range resource.Sorted(map[string]*corev1.SecretReference{
			"controllerPublishSecretRef": s.CSI.ControllerPublishSecretRef, "nodeStageSecretRef": s.CSI.NodeStageSecretRef,
			"nodePublishSecretRef": s.CSI.NodePublishSecretRef, "controllerExpandSecretRef": s.CSI.ControllerExpandSecretRef,
			"nodeExpandSecretRef": s.CSI.NodeExpandSecretRef,
		}) {
			if ref != nil {
				errs = append(errs, resource.NotEmpty(at.Child(name, "name"), ref.Name)...)
				errs = append(errs, resource.NotEmpty(at.Child(name, "namespace"), ref.Namespace)...)
			}
		}
	}
	return errs
}

func validateVolumeUpdate(v, old *corev1.PersistentVolume) field.ErrorList {
	errs := validateVolume(v)
	// The secrets by which a volume grows may be given later.
	before := old.Spec.PersistentVolumeSource.DeepCopy()
	if now := v.Spec.CSI; now != nil && before.CSI != nil {
		before.CSI.ControllerExpandSecretRef = now.ControllerExpandSecretRef
	}
	if !equality.Semantic.DeepEqual(&v.Spec.PersistentVolumeSource, before) {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "persistentvolumesource"),
			fmt.Sprintf("spec.persistentvolumesource is immutable after creation\n%v", diff.Diff(old.Spec.PersistentVolumeSource, v.Spec.PersistentVolumeSource))))
	}
	errs = append(errs, resource.Unchanged(field.NewPath("spec", "volumeMode"), v.Spec.VolumeMode, old.Spec.VolumeMode)...)
	if old.Spec.NodeAffinity != nil {
		errs = append(errs, resource.Unchanged(field.NewPath("spec", "nodeAffinity"), v.Spec.NodeAffinity, old.Spec.NodeAffinity)...)
	}
	return errs
}
