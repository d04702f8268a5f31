package rbac

import (
	"context"
	"errors"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/informers"
	rbaclisters "k8s.io/client-go/listers/rbac/v1"
)

// Resolver finds the rules that apply to a user.
type Resolver struct {
	roles               rbaclisters.RoleLister
	roleBindings        rbaclisters.RoleBindingLister
	clusterRoles        rbaclisters.ClusterRoleLister
	clusterRoleBindings rbaclisters.ClusterRoleBindingLister
}

// NewResolver takes roles and bindings from informers, which its caller starts.
func NewResolver(f informers.SharedInformerFactory) *Resolver {
	v1 := f.Rbac().V1()
	return &Resolver{
		roles: v1.Roles().Lister(), roleBindings: v1.RoleBindings().Lister(),
		clusterRoles: v1.ClusterRoles().Lister(), clusterRoleBindings: v1.ClusterRoleBindings().Lister(),
	}
}

// Seen tells whether the resolver has heard of all these roles and bindings, by their names.
func (r *Resolver) Seen(objects ...metav1.Object) bool {
	for _, o := range objects {
		var err error
		switch o.(type) {
		case *rbacv1.ClusterRole:
			_, err = r.clusterRoles.Get(o.GetName())
		case *rbacv1.ClusterRoleBinding:
			_, err = r.clusterRoleBindings.Get(o.GetName())
		case *rbacv1.Role:
			_, err = r.roles.Roles(o.GetNamespace()).Get(o.GetName())
		case *rbacv1.RoleBinding:
			_, err = r.roleBindings.RoleBindings(o.GetNamespace()).Get(o.GetName())
		}
		if err != nil {
			return false
		}
	}
	return true
}

// source tells by what a rule came to a user. Its text is made only when it is asked for.
type source struct {
	kind, namespace, name string
	role                  rbacv1.RoleRef
	subject               *rbacv1.Subject
}

func (s source) String() string {
	name, subject := s.name, s.subject.Name
	if s.namespace != "" {
		name += "/" + s.namespace
	}
	if s.subject.Kind == rbacv1.ServiceAccountKind {
		subject += "/" + s.subject.Namespace
	}
	return fmt.Sprintf("%s %q of %s %q to %s %q", s.kind, name, s.role.Kind, s.role.Name, s.subject.Kind, subject)
}

// visit calls f with every rule that applies to the user in the namespace ("" for the cluster alone), and
// with the error of every binding whose role could not be read, until f returns false.
func (r *Resolver) visit(u user.Info, namespace string, f func(source, *rbacv1.PolicyRule, error) bool) {
	clusterBindings, err := r.clusterRoleBindings.List(labels.Everything())
	if err != nil && !f(source{}, nil, err) {
		return
	}
	for _, b := range clusterBindings {
		if s := applies(b.Subjects, u, ""); s != nil {
			if !r.visitRole(source{"ClusterRoleBinding", "", b.Name, b.RoleRef, s}, "", f) {
				return
			}
		}
	}
	if namespace == "" {
		return
	}
	bindings, err := r.roleBindings.RoleBindings(namespace).List(labels.Everything())
	if err != nil && !f(source{}, nil, err) {
		return
	}
	for _, b := range bindings {
		if s := applies(b.Subjects, u, namespace); s != nil {
			if !r.visitRole(source{"RoleBinding", namespace, b.Name, b.RoleRef, s}, namespace, f) {
				return
			}
		}
	}
}

func (r *Resolver) visitRole(s source, namespace string, f func(source, *rbacv1.PolicyRule, error) bool) bool {
	rules, err := r.roleRules(s.role, namespace)
	if err != nil {
		return f(s, nil, err)
	}
	for i := range rules {
		if !f(s, &rules[i], nil) {
			return false
		}
	}
	return true
}

func (r *Resolver) roleRules(ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	switch ref.Kind {
	case "Role":
		role, err := r.roles.Roles(namespace).Get(ref.Name)
		if err != nil {
			return nil, err
		}
		return role.Rules, nil
	case "ClusterRole":
		role, err := r.clusterRoles.Get(ref.Name)
		if err != nil {
			return nil, err
		}
		return role.Rules, nil
	}
	return nil, fmt.Errorf("unsupported role reference kind: %q", ref.Kind)
}

// Rules returns all rules that apply to the user in the namespace. Besides an error there may be rules.
func (r *Resolver) Rules(_ context.Context, u user.Info, namespace string) ([]rbacv1.PolicyRule, error) {
	var rules []rbacv1.PolicyRule
	var errs []error
	r.visit(u, namespace, func(_ source, rule *rbacv1.PolicyRule, err error) bool {
		if rule != nil {
			rules = append(rules, *rule)
		}
		// A binding to a role that is not there is no fault of the question.
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
		return true
	})
	return rules, errors.Join(errs...)
}
