package rbac

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/component-helpers/auth/rbac/validation"

	"coracle.dev/coracle/apiserver/registry"
)

// Guarded is the storage of roles or bindings; it refuses writes that grant more than the writer has.
type Guarded struct {
	*registry.Storage
	check func(ctx context.Context, obj, old runtime.Object) error
}

var _ rest.StandardStorage = &Guarded{}

type guard struct {
	resolver   *Resolver
	authorizer authorizer.Authorizer
}

// GuardRoles guards the storage of roles or clusterroles.
func GuardRoles(s *registry.Storage, r *Resolver, a authorizer.Authorizer) *Guarded {
	g := guard{r, a}
	return &Guarded{Storage: s, check: g.role}
}

// GuardBindings guards the storage of rolebindings or clusterrolebindings.
func GuardBindings(s *registry.Storage, r *Resolver, a authorizer.Authorizer) *Guarded {
	g := guard{r, a}
	return &Guarded{Storage: s, check: g.binding}
}

// Create implements rest.Creater.
func (s *Guarded) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	if err := s.check(ctx, obj, nil); err != nil {
		return nil, err
	}
	return s.Storage.Create(ctx, obj, validate, options)
}

// Update implements rest.Updater.
func (s *Guarded) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, force bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	info = rest.WrapUpdatedObjectInfo(info, func(ctx context.Context, obj, old runtime.Object) (runtime.Object, error) {
		return obj, s.check(ctx, obj, old)
	})
	return s.Storage.Update(ctx, name, info, create, update, force, options)
}

// trusted are requests that need no check: the cluster's own, made without a user, and its masters'.
func trusted(ctx context.Context) bool {
	u, ok := request.UserFrom(ctx)
	return !ok || slices.Contains(u.GetGroups(), user.SystemPrivilegedGroup)
}

// collected reports whether the update concerns nothing but what the garbage collector writes, so that it
// can delete roles that it does not hold. A label, for one, may make a role part of others.
func collected(obj, old runtime.Object) bool {
	if old == nil {
		return false
	}
	now, ok := obj.DeepCopyObject().(metav1.Object)
	was, ok2 := old.(metav1.Object)
	if !ok || !ok2 || was.GetUID() == "" {
		return false
	}
	now.SetOwnerReferences(was.GetOwnerReferences())
	now.SetFinalizers(was.GetFinalizers())
	now.SetManagedFields(was.GetManagedFields())
	return equality.Semantic.DeepEqual(now, old)
}

func (g guard) role(ctx context.Context, obj, old runtime.Object) error {
	if trusted(ctx) || collected(obj, old) {
		return nil
	}
	var resource, namespace, name string
	var rules []rbacv1.PolicyRule
	switch r := obj.(type) {
	case *rbacv1.ClusterRole:
		resource, name, rules = "clusterroles", r.Name, r.Rules
		// Who aggregates gets whatever anyone puts into a role with the right label.
		if r.AggregationRule != nil {
			rules = append(slices.Clone(rules), everything...)
		}
	case *rbacv1.Role:
		resource, namespace, name, rules = "roles", namespaceOf(ctx, r.Namespace), r.Name, r.Rules
	default:
		return fmt.Errorf("guarding roles: unexpected %T", obj)
	}
	if g.may(ctx, "escalate", resource, namespace, name) {
		return nil
	}
	return g.holds(ctx, resource, namespace, name, rules)
}

var everything = []rbacv1.PolicyRule{
	{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
	{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}},
}

func (g guard) binding(ctx context.Context, obj, old runtime.Object) error {
	if trusted(ctx) || collected(obj, old) {
		return nil
	}
	var resource, namespace, name string
	var ref rbacv1.RoleRef
	switch b := obj.(type) {
	case *rbacv1.ClusterRoleBinding:
		resource, name, ref = "clusterrolebindings", b.Name, b.RoleRef
	case *rbacv1.RoleBinding:
		resource, namespace, name, ref = "rolebindings", namespaceOf(ctx, b.Namespace), b.Name, b.RoleRef
	default:
		return fmt.Errorf("guarding role bindings: unexpected %T", obj)
	}
	roles := "clusterroles"
	if ref.Kind == "Role" {
		roles = "roles"
	}
	if g.may(ctx, "bind", roles, namespace, ref.Name) {
		return nil
	}
	rules, err := g.resolver.roleRules(ref, namespace)
	if err != nil {
		if apierrors.IsNotFound(err) {
			return err
		}
		return apierrors.NewForbidden(rbacv1.Resource(resource), name, err)
	}
	return g.holds(ctx, resource, namespace, name, rules)
}

func namespaceOf(ctx context.Context, own string) string {
	if ns := request.NamespaceValue(ctx); ns != "" {
		return ns
	}
	return own
}

// may reports whether the user has the verb on the role.
func (g guard) may(ctx context.Context, verb, resource, namespace, name string) bool {
	u, _ := request.UserFrom(ctx)
	decision, _, err := g.authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: u, Verb: verb, Namespace: namespace, APIGroup: rbacv1.GroupName, APIVersion: "*", Resource: resource, Name: name, ResourceRequest: true,
	})
	return err == nil && decision == authorizer.DecisionAllow
}

// holds refuses rules that the user does not have.
func (g guard) holds(ctx context.Context, resource, namespace, name string, rules []rbacv1.PolicyRule) error {
	u, _ := request.UserFrom(ctx)
	own, resolveErr := g.resolver.Rules(ctx, u, namespace)
	ok, missing := validation.Covers(own, rules)
	if ok {
		return nil
	}
	lines := make([]string, 0, len(missing))
	for i := range missing {
		lines = append(lines, compact(&missing[i]))
	}
	sort.Strings(lines)
	text := fmt.Sprintf("user %q (groups=%q) is attempting to grant RBAC permissions not currently held:\n%s",
		u.GetName(), u.GetGroups(), strings.Join(slices.Compact(lines), "\n"))
	if resolveErr != nil {
		text += fmt.Sprintf("; resolution errors: %v", resolveErr)
	}
	return apierrors.NewForbidden(rbacv1.Resource(resource), name, errors.New(text))
}

func compact(r *rbacv1.PolicyRule) string {
	var parts []string
	add := func(name string, values []string) {
		if len(values) > 0 {
			parts = append(parts, fmt.Sprintf("%s:%q", name, values))
		}
	}
	add("APIGroups", r.APIGroups)
	add("Resources", r.Resources)
	add("NonResourceURLs", r.NonResourceURLs)
	add("ResourceNames", r.ResourceNames)
	add("Verbs", r.Verbs)
	return "{" + strings.Join(parts, ", ") + "}"
}
