package pod

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// What the downward API can show, in the environment and in files.
var (
	envFields = []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
	fileFields = []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
	// knownFields are those of either, beyond which a path is unknown rather than out of place.
	knownFields    = append(slices.Clone(envFields), "metadata.annotations", "metadata.labels", "spec.restartPolicy", "status.phase")
	resourceFields = []string{
		"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory",
	}
	byteDivisors = []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}
)

func (c *checker) checkEnv(path *field.Path, e *corev1.EnvVar) field.ErrorList {
	errs := resource.NotEmpty(path.Child("name"), e.Name)
	if e.Name != "" {
		errs = resource.Messages(path.Child("name"), e.Name, utilvalidation.IsRelaxedEnvVarName(e.Name))
	}
	if e.ValueFrom == nil {
		return errs
	}
	from, path := e.ValueFrom, path.Child("valueFrom")
	sources := 0
	if from.FieldRef != nil {
		sources++
		errs = append(errs, checkFieldRef(path.Child("fieldRef"), from.FieldRef, envFields, true)...)
	}
	if from.ResourceFieldRef != nil {
		sources++
		errs = append(errs, checkResourceRef(path.Child("resourceFieldRef"), from.ResourceFieldRef, false)...)
	}
	if r := from.ConfigMapKeyRef; r != nil {
		sources++
		errs = append(errs, checkKeyRef(path.Child("configMapKeyRef"), r.Name, r.Key)...)
	}
	if r := from.SecretKeyRef; r != nil {
		sources++
		errs = append(errs, checkKeyRef(path.Child("secretKeyRef"), r.Name, r.Key)...)
	}
	if r := from.FileKeyRef; r != nil {
		sources++
		errs = append(errs, c.checkFileRef(path.Child("fileKeyRef"), r)...)
	}
	switch {
	case sources == 0:
		errs = append(errs, field.Invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"))
	case e.Value != "":
		errs = append(errs, field.Invalid(path, "", "may not be specified when `value` is not empty"))
	case sources > 1:
		errs = append(errs, field.Invalid(path, "", "may not have more than one field specified at a time"))
	}
	return errs
}

func checkKeyRef(path *field.Path, name, key string) field.ErrorList {
	errs := resource.NotEmpty(path.Child("name"), name)
	if key == "" {
		return append(errs, field.Required(path.Child("key"), ""))
	}
	return append(errs, resource.Messages(path.Child("key"), key, utilvalidation.IsConfigMapKey(key))...)
}

func (c *checker) checkFileRef(path *field.Path, r *corev1.FileKeySelector) field.ErrorList {
	errs := resource.NotEmpty(path.Child("volumeName"), r.VolumeName)
	if v, ok := c.volumes[r.VolumeName]; r.VolumeName != "" && !ok {
		errs = append(errs, field.NotFound(path.Child("volumeName"), r.VolumeName))
	} else if ok && v.EmptyDir == nil {
		errs = append(errs, field.Invalid(path.Child("volumeName"), r.VolumeName, "referenced volume must be an emptyDir volume"))
	}
	errs = append(errs, resource.NotEmpty(path.Child("path"), r.Path)...)
	errs = append(errs, resource.RelativePath(path.Child("path"), r.Path)...)
	if r.Key == "" {
		return append(errs, field.Required(path.Child("key"), ""))
	}
	return append(errs, resource.Messages(path.Child("key"), r.Key, utilvalidation.IsRelaxedEnvVarName(r.Key))...)
}

func checkEnvFrom(path *field.Path, e *corev1.EnvFromSource) field.ErrorList {
	var errs field.ErrorList
	if e.Prefix != "" {
		errs = append(errs, resource.Messages(path.Child("prefix"), e.Prefix, utilvalidation.IsRelaxedEnvVarName(e.Prefix))...)
	}
	if e.ConfigMapRef != nil {
		errs = append(errs, resource.NotEmpty(path.Child("configMapRef", "name"), e.ConfigMapRef.Name)...)
	}
	if e.SecretRef != nil {
		errs = append(errs, resource.NotEmpty(path.Child("secretRef", "name"), e.SecretRef.Name)...)
	}
	switch {
	case e.ConfigMapRef == nil && e.SecretRef == nil:
		errs = append(errs, field.Invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
	case e.ConfigMapRef != nil && e.SecretRef != nil:
		errs = append(errs, field.Invalid(path, "", "may not have more than one field specified at a time"))
	}
	return errs
}

// checkFieldRef checks a reference to a field of the pod. subscripts allows metadata.labels['key'].
func checkFieldRef(path *field.Path, r *corev1.ObjectFieldSelector, fields []string, subscripts bool) field.ErrorList {
	if r.APIVersion == "" {
		return field.ErrorList{field.Required(path.Child("apiVersion"), "")}
	}
	if r.FieldPath == "" {
		return field.ErrorList{field.Required(path.Child("fieldPath"), "")}
	}
	at := path.Child("fieldPath")
	if r.APIVersion != "v1" {
		return field.ErrorList{field.Invalid(at, r.FieldPath, "error converting fieldPath: unsupported pod version: "+r.APIVersion)}
	}
	name, key, subscripted := cutSubscript(r.FieldPath)
	if !slices.Contains(knownFields, name) {
		return field.ErrorList{field.Invalid(at, r.FieldPath, "error converting fieldPath: field label not supported: "+r.FieldPath)}
	}
	if !subscripted {
		return resource.Supported(at, name, fields...)
	}
	switch name {
	case "metadata.annotations":
		return resource.Messages(path, key, utilvalidation.IsQualifiedName(strings.ToLower(key)))
	case "metadata.labels":
		return resource.Messages(path, key, utilvalidation.IsQualifiedName(key))
	}
	return field.ErrorList{field.Invalid(path, name, "does not support subscript")}
}

// cutSubscript splits name['key'].
func cutSubscript(text string) (name, key string, ok bool) {
	inner, ok := strings.CutSuffix(text, "']")
	if !ok {
		return text, "", false
	}
	name, key, ok = strings.Cut(inner, "['")
	if !ok || name == "" {
		return text, "", false
	}
	return name, key, true
}

// checkResourceRef checks a reference to a container's requests or limits; a file must name the
// container, a variable is the container's own.
func checkResourceRef(path *field.Path, r *corev1.ResourceFieldSelector, file bool) field.ErrorList {
	var errs field.ErrorList
	huge := strings.HasPrefix(r.Resource, "limits.hugepages-") || strings.HasPrefix(r.Resource, "requests.hugepages-")
	switch {
	case file && r.ContainerName == "":
		errs = append(errs, field.Required(path.Child("containerName"), ""))
	case r.Resource == "":
		errs = append(errs, field.Required(path.Child("resource"), ""))
	case !huge:
		errs = append(errs, resource.Supported(path.Child("resource"), r.Resource, resourceFields...)...)
	}
	return append(errs, checkDivisor(path.Child("divisor"), r)...)
}

func checkDivisor(path *field.Path, r *corev1.ResourceFieldSelector) field.ErrorList {
	if r.Divisor.IsZero() {
		return nil
	}
	kind, allowed := "memory", byteDivisors
	switch {
	case strings.HasSuffix(r.Resource, ".cpu"):
		kind, allowed = "cpu", []string{"1m", "1"}
	case strings.HasSuffix(r.Resource, ".ephemeral-storage"):
		kind = "local ephemeral storage"
	case strings.Contains(r.Resource, ".hugepages-"):
		kind = "hugepages"
	}
	for _, d := range allowed {
		if r.Divisor.Cmp(apiresource.MustParse(d)) == 0 {
			return nil
		}
	}
	list := strings.Join(allowed, ", ")
	if kind == "cpu" {
		list = "1m and 1"
	}
	return field.ErrorList{field.Invalid(path, r.Resource, fmt.Sprintf("only divisor's values %s are supported with the %s resource", list, kind))}
}
