package rbac

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Covers reports whether the rule allows the request.
func Covers(rule *rbacv1.PolicyRule, a authorizer.Attributes) bool {
	if !has(rule.Verbs, a.GetVerb(), rbacv1.VerbAll) {
		return false
	}
	if !a.IsResourceRequest() {
		return slices.ContainsFunc(rule.NonResourceURLs, func(pattern string) bool { return matchURL(pattern, a.GetPath()) })
	}
	return has(rule.APIGroups, a.GetAPIGroup(), rbacv1.APIGroupAll) && coversResource(rule, a) &&
		(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, a.GetName()))
}

// coversResource: "pods/log" names a subresource, "*/scale" that of every resource, "*" everything.
func coversResource(rule *rbacv1.PolicyRule, a authorizer.Attributes) bool {
	resource, sub := a.GetResource(), a.GetSubresource()
	for _, r := range rule.Resources {
		switch {
		case r == rbacv1.ResourceAll:
			return true
		case sub == "":
			if r == resource {
				return true
			}
		case strings.HasSuffix(r, "/"+sub):
			if prefix := r[:len(r)-len(sub)-1]; prefix == resource || prefix == rbacv1.ResourceAll {
				return true
			}
		}
	}
	return false
}

func matchURL(pattern, path string) bool {
	if pattern == rbacv1.NonResourceAll || pattern == path {
		return true
	}
	prefix, ok := strings.CutSuffix(pattern, "*")
	return ok && strings.HasPrefix(path, strings.TrimRight(prefix, "*"))
}

func has(list []string, value, all string) bool {
	for _, s := range list {
		if s == value || s == all {
			return true
		}
	}
	return false
}

// applies returns the first of the subjects that the user is, or nil. Service accounts without a
// namespace of their own are of the binding's.
func applies(subjects []rbacv1.Subject, u user.Info, namespace string) *rbacv1.Subject {
	for i := range subjects {
		if s := &subjects[i]; is(s, u, namespace) {
			return s
		}
	}
	return nil
}

func is(s *rbacv1.Subject, u user.Info, namespace string) bool {
	switch s.Kind {
	case rbacv1.UserKind:
		return u.GetName() == s.Name
	case rbacv1.GroupKind:
		return slices.Contains(u.GetGroups(), s.Name)
	case rbacv1.ServiceAccountKind:
		if s.Namespace != "" {
			namespace = s.Namespace
		}
		return namespace != "" && serviceaccount.MatchesUsername(namespace, s.Name, u.GetName())
	}
	return false
}
