package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"

	"coracle.dev/coracle/apis/resource"
)

func defaultRoleBinding(b *rbacv1.RoleBinding) { defaultBinding(&b.RoleRef, b.Subjects) }

func defaultClusterRoleBinding(b *rbacv1.ClusterRoleBinding) { defaultBinding(&b.RoleRef, b.Subjects) }

func defaultBinding(role *rbacv1.RoleRef, subjects []rbacv1.Subject) {
	resource.SetDefault(&role.APIGroup, rbacv1.GroupName)
	for i := range subjects {
		if subjects[i].Kind == rbacv1.UserKind || subjects[i].Kind == rbacv1.GroupKind {
			resource.SetDefault(&subjects[i].APIGroup, rbacv1.GroupName)
		}
	}
}
