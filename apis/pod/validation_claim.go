package pod

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

var accessModes = []corev1.PersistentVolumeAccessMode{
	corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod,
}

// CheckAccessModes checks the access modes of a volume or of a claim.
func CheckAccessModes(path *field.Path, modes []corev1.PersistentVolumeAccessMode) field.ErrorList {
	if len(modes) == 0 {
		return field.ErrorList{field.Required(path, "at least 1 access mode is required")}
	}
	var errs field.ErrorList
	for _, m := range modes {
		errs = append(errs, resource.Supported(path, m, accessModes...)...)
	}
	if slices.Contains(modes, corev1.ReadWriteOncePod) && len(modes) > 1 {
		errs = append(errs, field.Forbidden(path, "may not use ReadWriteOncePod with other access modes"))
	}
	return errs
}

// ValidateClaimSpec returns every fault of a persistent volume claim's specification.
func ValidateClaimSpec(s *corev1.PersistentVolumeClaimSpec, path *field.Path) field.ErrorList {
	errs := CheckAccessModes(path.Child("accessModes"), s.AccessModes)
	errs = append(errs, resource.Selector(path.Child("selector"), s.Selector)...)
	size, ok := s.Resources.Requests[corev1.ResourceStorage]
	switch at := path.Child("resources"); {
	case !ok:
		errs = append(errs, field.Required(at.Child("requests").Key("storage"), ""))
	case size.Sign() <= 0:
		errs = append(errs, field.Invalid(at.Child("requests").Key("storage"), size.String(), "must be greater than zero"))
	default:
		if limit, ok := s.Resources.Limits[corev1.ResourceStorage]; ok && size.Cmp(limit) > 0 {
			errs = append(errs, field.Invalid(at.Child("requests"), size.String(), "must be less than or equal to storage limit of "+limit.String()))
		}
	}
	if c := s.StorageClassName; c != nil && *c != "" {
		errs = append(errs, resource.DNSSubdomain(path.Child("storageClassName"), *c)...)
	}
	if s.VolumeMode != nil {
		errs = append(errs, resource.Supported(path.Child("volumeMode"), *s.VolumeMode, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)...)
	}
	if d := s.DataSource; d != nil {
		errs = append(errs, checkOrigin(path.Child("dataSource"), d.APIGroup, d.Kind, d.Name)...)
	}
	if d := s.DataSourceRef; d != nil {
		errs = append(errs, checkOrigin(path.Child("dataSourceRef"), d.APIGroup, d.Kind, d.Name)...)
	}
	if a, b := s.DataSource, s.DataSourceRef; a != nil && b != nil && resource.Deref(b.Namespace) == "" &&
		(resource.Deref(a.APIGroup) != resource.Deref(b.APIGroup) || a.Kind != b.Kind || a.Name != b.Name) {
		errs = append(errs, field.Invalid(path, path.Child("dataSource"), "must match dataSourceRef"))
	}
	if c := s.VolumeAttributesClassName; c != nil && *c != "" {
		errs = append(errs, resource.DNSSubdomain(path.Child("volumeAttributesClassName"), *c)...)
	}
	return errs
}

func checkOrigin(path *field.Path, group *string, kind, name string) field.ErrorList {
	errs := resource.NotEmpty(path.Child("name"), name)
	errs = append(errs, resource.NotEmpty(path.Child("kind"), kind)...)
	if resource.Deref(group) == "" && kind != "PersistentVolumeClaim" {
		errs = append(errs, field.Invalid(path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
	}
	return errs
}
