package rbac

import (
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"coracle.dev/coracle/apis/resource"
)

var roleColumns = []resource.Column[*rbacv1.Role]{resource.Name[*rbacv1.Role](), resource.CreatedAt[*rbacv1.Role]()}

var clusterRoleColumns = []resource.Column[*rbacv1.ClusterRole]{
	resource.Name[*rbacv1.ClusterRole](), resource.CreatedAt[*rbacv1.ClusterRole](),
}

var roleBindingColumns = bindingColumns(func(b *rbacv1.RoleBinding) (rbacv1.RoleRef, []rbacv1.Subject) {
	return b.RoleRef, b.Subjects
})

var clusterRoleBindingColumns = bindingColumns(func(b *rbacv1.ClusterRoleBinding) (rbacv1.RoleRef, []rbacv1.Subject) {
	return b.RoleRef, b.Subjects
})

func bindingColumns[T resource.Object](parts func(T) (rbacv1.RoleRef, []rbacv1.Subject)) []resource.Column[T] {
	subjects := func(name, kind string) resource.Column[T] {
		return resource.Text(name, func(o T) any {
			_, all := parts(o)
			return subjectNames(all, kind)
		}).Wide()
	}
	return []resource.Column[T]{
		resource.Name[T](),
		resource.Text("Role", func(o T) any {
			role, _ := parts(o)
			return role.Kind + "/" + role.Name
		}),
		resource.Age[T](),
		subjects("Users", rbacv1.UserKind),
		subjects("Groups", rbacv1.GroupKind),
		subjects("ServiceAccounts", rbacv1.ServiceAccountKind),
	}
}

func subjectNames(subjects []rbacv1.Subject, kind string) string {
	var out []string
	for _, s := range subjects {
		switch {
		case s.Kind != kind:
		case kind == rbacv1.ServiceAccountKind:
			out = append(out, s.Namespace+"/"+s.Name)
		default:
			out = append(out, s.Name)
		}
	}
	return strings.Join(out, ", ")
}
