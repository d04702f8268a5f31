package pod

import (
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

const (
	modeMessage  = "must be a number between 0 and 0777 (octal), both inclusive"
	oneType      = "may not specify more than 1 volume type"
	minTokenLife = 10 * 60
	maxTokenLife = 1 << 32
)

func (c *checker) checkVolumes(path *field.Path) field.ErrorList {
	errs := resource.Each(path, c.spec.Volumes, func(at *field.Path, v *corev1.Volume) field.ErrorList {
		errs := c.checkSource(at, v)
		if v.Name == "" {
			return append(errs, field.Required(at.Child("name"), ""))
		}
		return append(errs, resource.DNSLabel(at.Child("name"), v.Name)...)
	})
	return append(errs, resource.Unique(path, c.spec.Volumes, "name", func(v *corev1.Volume) string { return v.Name })...)
}

// checkSource requires exactly one kind of volume.
func (c *checker) checkSource(path *field.Path, v *corev1.Volume) field.ErrorList {
	var errs field.ErrorList
	for i, name := range SetFields(&v.VolumeSource) {
		if i > 0 {
			errs = append(errs, field.Forbidden(path.Child(name), oneType))
			continue
		}
		errs = append(errs, c.checkKind(path.Child(name), v)...)
	}
	if len(SetFields(&v.VolumeSource)) == 0 {
		errs = append(errs, field.Required(path, "must specify a volume type"))
	}
	return errs
}

// SetFields gives the JSON names of the pointers in *s that point somewhere, in order of declaration.
// The unions of the API (volume sources and the like) are structs of such pointers.
func SetFields(s any) []string {
	v := reflect.ValueOf(s).Elem()
	var names []string
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}

func (c *checker) checkKind(path *field.Path, v *corev1.Volume) field.ErrorList {
	switch {
	case v.EmptyDir != nil:
		if l := v.EmptyDir.SizeLimit; l != nil && l.Sign() < 0 {
			return field.ErrorList{field.Forbidden(path.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity")}
		}
	case v.HostPath != nil:
		return CheckHostPath(path, v.HostPath)
	case v.Secret != nil:
		errs := resource.NotEmpty(path.Child("secretName"), v.Secret.SecretName)
		return append(errs, checkFiles(path, v.Secret.DefaultMode, v.Secret.Items)...)
	case v.ConfigMap != nil:
		errs := resource.NotEmpty(path.Child("name"), v.ConfigMap.Name)
		return append(errs, checkFiles(path, v.ConfigMap.DefaultMode, v.ConfigMap.Items)...)
	case v.DownwardAPI != nil:
		errs := checkMode(path.Child("defaultMode"), v.DownwardAPI.DefaultMode)
		return append(errs, resource.Each(path.Child("items"), v.DownwardAPI.Items, checkDownwardFile)...)
	case v.Projected != nil:
		return checkProjected(path, v.Projected)
	case v.PersistentVolumeClaim != nil:
		return resource.NotEmpty(path.Child("claimName"), v.PersistentVolumeClaim.ClaimName)
	case v.Ephemeral != nil:
		return c.checkClaimTemplate(path.Child("volumeClaimTemplate"), v)
	case v.CSI != nil:
		return checkInlineCSI(path, v.CSI)
	case v.Image != nil:
		errs := resource.Supported(path.Child("pullPolicy"), v.Image.PullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
		if c.isPod {
			errs = append(errs, resource.NotEmpty(path.Child("reference"), v.Image.Reference)...)
		}
		return errs
	}
	return checkNetworkVolume(path, &v.VolumeSource)
}

// CheckHostPath checks a path of the host and what must be found there.
func CheckHostPath(path *field.Path, h *corev1.HostPathVolumeSource) field.ErrorList {
	if h.Path == "" {
		return field.ErrorList{field.Required(path.Child("path"), "")}
	}
	errs := resource.NoBacksteps(path.Child("path"), h.Path)
	if h.Type != nil {
		errs = append(errs, resource.Supported(path.Child("type"), *h.Type, corev1.HostPathUnset, corev1.HostPathBlockDev,
			corev1.HostPathCharDev, corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate, corev1.HostPathFile,
			corev1.HostPathFileOrCreate, corev1.HostPathSocket)...)
	}
	return errs
}

// CheckNFS checks a volume of a network file server.
func CheckNFS(path *field.Path, n *corev1.NFSVolumeSource) field.ErrorList {
	errs := resource.NotEmpty(path.Child("server"), n.Server)
	errs = append(errs, resource.NotEmpty(path.Child("path"), n.Path)...)
	if !strings.HasPrefix(n.Path, "/") {
		errs = append(errs, field.Invalid(path.Child("path"), n.Path, "must be an absolute path"))
	}
	return errs
}

func checkMode(path *field.Path, mode *int32) field.ErrorList {
	if mode != nil && (*mode < 0 || *mode > 0o777) {
		return field.ErrorList{field.Invalid(path, *mode, modeMessage)}
	}
	return nil
}

func checkFiles(path *field.Path, mode *int32, items []corev1.KeyToPath) field.ErrorList {
	return append(checkMode(path.Child("defaultMode"), mode), resource.Each(path.Child("items"), items, checkKeyToPath)...)
}

func checkKeyToPath(path *field.Path, k *corev1.KeyToPath) field.ErrorList {
	errs := resource.NotEmpty(path.Child("key"), k.Key)
	errs = append(errs, resource.NotEmpty(path.Child("path"), k.Path)...)
	errs = append(errs, checkFilePath(path.Child("path"), k.Path)...)
	return append(errs, checkMode(path.Child("mode"), k.Mode)...)
}

// checkFilePath keeps files clear of the names that the node agent uses to swap contents atomically.
func checkFilePath(path *field.Path, value string) field.ErrorList {
	errs := resource.RelativePath(path, value)
	if strings.HasPrefix(value, "..") && !strings.HasPrefix(value, "../") {
		errs = append(errs, field.Invalid(path, value, "must not start with '..'"))
	}
	return errs
}

func checkDownwardFile(path *field.Path, f *corev1.DownwardAPIVolumeFile) field.ErrorList {
	errs := resource.NotEmpty(path.Child("path"), f.Path)
	errs = append(errs, checkFilePath(path.Child("path"), f.Path)...)
	switch {
	case f.FieldRef != nil:
		errs = append(errs, checkFieldRef(path.Child("fieldRef"), f.FieldRef, fileFields, true)...)
		if f.ResourceFieldRef != nil {
			errs = append(errs, field.Invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
		}
	case f.ResourceFieldRef != nil:
		errs = append(errs, checkResourceRef(path.Child("resourceFieldRef"), f.ResourceFieldRef, true)...)
	default:
		errs = append(errs, field.Required(path, "one of fieldRef and resourceFieldRef is required"))
	}
	return append(errs, checkMode(path.Child("mode"), f.Mode)...)
}

func checkProjected(path *field.Path, p *corev1.ProjectedVolumeSource) field.ErrorList {
	errs := checkMode(path.Child("defaultMode"), p.DefaultMode)
	errs = append(errs, checkSamePaths(path.Child("sources"), p.Sources)...)
	return append(errs, resource.Each(path.Child("sources"), p.Sources, func(at *field.Path, s *corev1.VolumeProjection) field.ErrorList {
		var errs field.ErrorList
		set := SetFields(s)
		for _, name := range set[min(1, len(set)):] {
			errs = append(errs, field.Forbidden(at.Child(name), oneType))
		}
		if len(set) == 0 {
			return append(errs, field.Required(at, "must specify a volume type"))
		}
		return append(errs, checkProjection(at.Child(set[0]), s)...)
	})...)
}

func checkProjection(path *field.Path, s *corev1.VolumeProjection) field.ErrorList {
	switch {
	case s.Secret != nil:
		errs := resource.NotEmpty(path.Child("name"), s.Secret.Name)
		return append(errs, resource.Each(path.Child("items"), s.Secret.Items, checkKeyToPath)...)
	case s.DownwardAPI != nil:
		return resource.Each(path.Child("items"), s.DownwardAPI.Items, checkDownwardFile)
	case s.ConfigMap != nil:
		errs := resource.NotEmpty(path.Child("name"), s.ConfigMap.Name)
		return append(errs, resource.Each(path.Child("items"), s.ConfigMap.Items, checkKeyToPath)...)
	case s.ServiceAccountToken != nil:
		return checkToken(path, s.ServiceAccountToken)
	case s.ClusterTrustBundle != nil:
		b := s.ClusterTrustBundle
		var errs field.ErrorList
		if (b.Name == nil) == (b.SignerName == nil) {
			errs = append(errs, field.Invalid(path, b, "exactly one of name or signerName is required"))
		}
		errs = append(errs, resource.NotEmpty(path.Child("path"), b.Path)...)
		return append(errs, checkFilePath(path.Child("path"), b.Path)...)
	}
	return nil
}

func checkToken(path *field.Path, t *corev1.ServiceAccountTokenProjection) field.ErrorList {
	var errs field.ErrorList
	if s := t.ExpirationSeconds; s != nil && *s < minTokenLife {
		errs = append(errs, field.Invalid(path.Child("expirationSeconds"), *s, "may not specify a duration less than 10 minutes"))
	} else if s != nil && *s > maxTokenLife {
		errs = append(errs, field.Invalid(path.Child("expirationSeconds"), *s, "may not specify a duration larger than 2^32 seconds"))
	}
	if t.Path == "" {
		return append(errs, field.Required(path.Child("path"), ""))
	}
	return append(errs, checkFilePath(path.Child("path"), t.Path)...)
}

func checkInlineCSI(path *field.Path, v *corev1.CSIVolumeSource) field.ErrorList {
	errs := CheckDriverName(path.Child("driver"), v.Driver)
	if v.NodePublishSecretRef != nil {
		errs = append(errs, resource.NotEmpty(path.Child("nodePublishSecretRef", "name"), v.NodePublishSecretRef.Name)...)
	}
	return errs
}

// CheckDriverName checks the name of a CSI driver.
func CheckDriverName(path *field.Path, name string) field.ErrorList {
	switch {
	case name == "":
		return field.ErrorList{field.Required(path, "")}
	case len(name) > 63:
		return field.ErrorList{field.TooLong(path, "", 63)}
	}
	return resource.Messages(path, name, utilvalidation.IsDNS1123Subdomain(strings.ToLower(name)))
}

// checkClaimTemplate also checks the name that the claim will have: the pod's and the volume's.
func (c *checker) checkClaimTemplate(path *field.Path, v *corev1.Volume) field.ErrorList {
	t := v.Ephemeral.VolumeClaimTemplate
	if t == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if c.meta != nil && c.meta.Name != "" {
		name := c.meta.Name + "-" + v.Name
		for _, m := range validation.NameIsDNSSubdomain(name, false) {
			errs = append(errs, field.Invalid(path.Child("name"), v.Name, "PVC name \""+name+"\": "+m))
		}
	}
	return append(errs, ValidateClaimSpec(&t.Spec, path.Child("spec"))...)
}
