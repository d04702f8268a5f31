package resource

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Immutable is what Kubernetes says of a field that must stay as it is.
const Immutable = "field is immutable"

// Messages turns the messages about a value into errors.
func Messages(path *field.Path, value any, msgs []string) field.ErrorList {
	var errs field.ErrorList
	for _, m := range msgs {
		errs = append(errs, field.Invalid(path, value, m))
	}
	return errs
}

// NotEmpty requires a text.
func NotEmpty[S ~string](path *field.Path, value S) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return nil
}

// OneOf requires a value to be among the supported ones; the empty value is one that is missing.
func OneOf[S ~string](path *field.Path, value S, supported ...S) field.ErrorList {
	if value == "" && !slices.Contains(supported, value) {
		return field.ErrorList{field.Required(path, "")}
	}
	return Supported(path, value, supported...)
}

// Supported requires a value to be among the supported ones.
func Supported[S ~string](path *field.Path, value S, supported ...S) field.ErrorList {
	if slices.Contains(supported, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, supported)}
}

// NotNegative requires 0 or more.
func NotNegative[N ~int | ~int32 | ~int64](path *field.Path, n N) field.ErrorList {
	return validation.ValidateNonnegativeField(int64(n), path)
}

// NotNegativePointer requires 0 or more, or nothing.
func NotNegativePointer[N ~int | ~int32 | ~int64](path *field.Path, n *N) field.ErrorList {
	if n == nil {
		return nil
	}
	return NotNegative(path, *n)
}

// DNSLabel requires a DNS label.
func DNSLabel(path *field.Path, value string) field.ErrorList {
	return Messages(path, value, utilvalidation.IsDNS1123Label(value))
}

// DNSSubdomain requires a DNS name.
func DNSSubdomain(path *field.Path, value string) field.ErrorList {
	return Messages(path, value, utilvalidation.IsDNS1123Subdomain(value))
}

// QualifiedName requires a name that may have a prefix, as keys of labels have.
func QualifiedName(path *field.Path, value string) field.ErrorList {
	return metavalidation.ValidateLabelName(value, path)
}

// PortNumber requires 1 to 65535.
func PortNumber(path *field.Path, port int32) field.ErrorList {
	return Messages(path, port, utilvalidation.IsValidPortNum(int(port)))
}

// PathSegmentName is a ValidateName for names that need do no more than fit into a URL.
func PathSegmentName(name string, prefix bool) []string {
	if prefix {
		return content.IsPathSegmentPrefix(name)
	}
	return content.IsPathSegmentName(name)
}

// RelativePath requires a path below the place it is relative to.
func RelativePath(path *field.Path, value string) field.ErrorList {
	var errs field.ErrorList
	if strings.HasPrefix(value, "/") {
		errs = append(errs, field.Invalid(path, value, "must be a relative path"))
	}
	return append(errs, NoBacksteps(path, value)...)
}

// NoBacksteps forbids ".." in a path.
func NoBacksteps(path *field.Path, value string) field.ErrorList {
	if slices.Contains(strings.Split(value, "/"), "..") {
		return field.ErrorList{field.Invalid(path, value, "must not contain '..'")}
	}
	return nil
}

// Selector checks a label selector; nil is none.
func Selector(path *field.Path, s *metav1.LabelSelector) field.ErrorList {
	return metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, path)
}

// Unchanged requires a field to stay as it was.
func Unchanged(path *field.Path, value, old any) field.ErrorList {
	return validation.ValidateImmutableField(value, old, path)
}

// Each checks the items of a list.
func Each[T any](path *field.Path, items []T, check func(*field.Path, *T) field.ErrorList) field.ErrorList {
	var errs field.ErrorList
	for i := range items {
		errs = append(errs, check(path.Index(i), &items[i])...)
	}
	return errs
}

// Unique reports the items whose key an earlier one has; the empty key is none.
func Unique[T any](path *field.Path, items []T, child string, key func(*T) string) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i := range items {
		k := key(&items[i])
		if k != "" && seen[k] {
			at := path.Index(i)
			if child != "" {
				at = at.Child(child)
			}
			errs = append(errs, field.Duplicate(at, k))
		}
		seen[k] = true
	}
	return errs
}
