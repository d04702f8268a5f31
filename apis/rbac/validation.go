package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

func validateRole(r *rbacv1.Role) field.ErrorList { return checkRules(r.Rules, true) }

func validateRoleUpdate(r, _ *rbacv1.Role) field.ErrorList { return validateRole(r) }

func validateClusterRole(r *rbacv1.ClusterRole) field.ErrorList {
	errs := checkRules(r.Rules, false)
	if a := r.AggregationRule; a != nil {
		at := field.NewPath("aggregationRule", "clusterRoleSelectors")
		if len(a.ClusterRoleSelectors) == 0 {
			errs = append(errs, field.Required(at, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
		}
		for i := range a.ClusterRoleSelectors {
			errs = append(errs, resource.Selector(at.Index(i), &a.ClusterRoleSelectors[i])...)
		}
	}
	return errs
}

func validateClusterRoleUpdate(r, _ *rbacv1.ClusterRole) field.ErrorList {
	return validateClusterRole(r)
}

func checkRules(rules []rbacv1.PolicyRule, namespaced bool) field.ErrorList {
	return resource.Each(field.NewPath("rules"), rules, func(at *field.Path, r *rbacv1.PolicyRule) field.ErrorList {
		var errs field.ErrorList
		if len(r.Verbs) == 0 {
			errs = append(errs, field.Required(at.Child("verbs"), "verbs must contain at least one value"))
		}
		if len(r.NonResourceURLs) > 0 {
			if namespaced {
				errs = append(errs, field.Invalid(at.Child("nonResourceURLs"), r.NonResourceURLs, "namespaced rules cannot apply to non-resource URLs"))
			}
			if len(r.APIGroups) > 0 || len(r.Resources) > 0 || len(r.ResourceNames) > 0 {
				errs = append(errs, field.Invalid(at.Child("nonResourceURLs"), r.NonResourceURLs, "rules cannot apply to both regular resources and non-resource URLs"))
			}
			return errs
		}
		if len(r.APIGroups) == 0 {
			errs = append(errs, field.Required(at.Child("apiGroups"), "resource rules must supply at least one api group"))
		}
		if len(r.Resources) == 0 {
			errs = append(errs, field.Required(at.Child("resources"), "resource rules must supply at least one resource"))
		}
		return errs
	})
}

func validateRoleBinding(b *rbacv1.RoleBinding) field.ErrorList {
	return checkBinding(&b.RoleRef, b.Subjects, "Role", "ClusterRole")
}

func validateClusterRoleBinding(b *rbacv1.ClusterRoleBinding) field.ErrorList {
	return checkBinding(&b.RoleRef, b.Subjects, "ClusterRole")
}

func checkBinding(role *rbacv1.RoleRef, subjects []rbacv1.Subject, kinds ...string) field.ErrorList {
	at := field.NewPath("roleRef")
	var errs field.ErrorList
	if role.APIGroup != rbacv1.GroupName {
		errs = append(errs, field.NotSupported(at.Child("apiGroup"), role.APIGroup, []string{rbacv1.GroupName}))
	}
	errs = append(errs, resource.Supported(at.Child("kind"), role.Kind, kinds...)...)
	if role.Name == "" {
		errs = append(errs, field.Required(at.Child("name"), ""))
	} else {
		errs = append(errs, resource.Messages(at.Child("name"), role.Name, resource.PathSegmentName(role.Name, false))...)
	}
	return append(errs, resource.Each(field.NewPath("subjects"), subjects, checkSubject)...)
}

func checkSubject(at *field.Path, s *rbacv1.Subject) field.ErrorList {
	errs := resource.NotEmpty(at.Child("name"), s.Name)
	switch s.Kind {
	case rbacv1.ServiceAccountKind:
		if s.Name != "" {
			errs = append(errs, resource.DNSSubdomain(at.Child("name"), s.Name)...)
		}
		errs = append(errs, resource.Supported(at.Child("apiGroup"), s.APIGroup, "")...)
		errs = append(errs, resource.NotEmpty(at.Child("namespace"), s.Namespace)...)
	case rbacv1.UserKind, rbacv1.GroupKind:
		errs = append(errs, resource.Supported(at.Child("apiGroup"), s.APIGroup, rbacv1.GroupName)...)
	default:
		errs = append(errs, resource.Supported(at.Child("kind"), s.Kind, rbacv1.ServiceAccountKind, rbacv1.UserKind, rbacv1.GroupKind)...)
	}
	return errs
}

// A binding is to one role for good: whoever could change that would hand out what it was not meant to.
func validateRoleBindingUpdate(b, old *rbacv1.RoleBinding) field.ErrorList {
	return append(validateRoleBinding(b), checkSameRole(b.RoleRef, old.RoleRef)...)
}

func validateClusterRoleBindingUpdate(b, old *rbacv1.ClusterRoleBinding) field.ErrorList {
	return append(validateClusterRoleBinding(b), checkSameRole(b.RoleRef, old.RoleRef)...)
}

func checkSameRole(role, old rbacv1.RoleRef) field.ErrorList {
	if role == old {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("roleRef"), role, "cannot change roleRef")}
}
