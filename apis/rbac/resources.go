// Package rbac declares roles and role bindings, of a namespace and of the cluster.
//
// Whether a writer holds the permissions that it grants is for the API server to check.
package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"coracle.dev/coracle/apis/resource"
)

var v1 = rbacv1.SchemeGroupVersion

// Resources lists the resources of the group, in discovery order.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{
		clusterRoleBindings.Describe(), clusterRoles.Describe(), roleBindings.Describe(), roles.Describe(),
	}
}

var clusterRoleBindings = resource.Resource[*rbacv1.ClusterRoleBinding]{
	Version: v1, Kind: "ClusterRoleBinding", Plural: "clusterrolebindings", ClusterScoped: true,
	New:                 func() *rbacv1.ClusterRoleBinding { return &rbacv1.ClusterRoleBinding{} },
	NewList:             func() runtime.Object { return &rbacv1.ClusterRoleBindingList{} },
	ValidateName:        resource.PathSegmentName,
	AllowCreateOnUpdate: true,
	Default:             defaultClusterRoleBinding,
	Columns:             clusterRoleBindingColumns,
	Validate:            validateClusterRoleBinding,
	ValidateUpdate:      validateClusterRoleBindingUpdate,
}

var clusterRoles = resource.Resource[*rbacv1.ClusterRole]{
	Version: v1, Kind: "ClusterRole", Plural: "clusterroles", ClusterScoped: true,
	New:                 func() *rbacv1.ClusterRole { return &rbacv1.ClusterRole{} },
	NewList:             func() runtime.Object { return &rbacv1.ClusterRoleList{} },
	ValidateName:        resource.PathSegmentName,
	AllowCreateOnUpdate: true,
	Columns:             clusterRoleColumns,
	Validate:            validateClusterRole,
	ValidateUpdate:      validateClusterRoleUpdate,
}

var roleBindings = resource.Resource[*rbacv1.RoleBinding]{
	Version: v1, Kind: "RoleBinding", Plural: "rolebindings",
	New:                 func() *rbacv1.RoleBinding { return &rbacv1.RoleBinding{} },
	NewList:             func() runtime.Object { return &rbacv1.RoleBindingList{} },
	ValidateName:        resource.PathSegmentName,
	AllowCreateOnUpdate: true,
	Default:             defaultRoleBinding,
	Columns:             roleBindingColumns,
	Validate:            validateRoleBinding,
	ValidateUpdate:      validateRoleBindingUpdate,
}

var roles = resource.Resource[*rbacv1.Role]{
	Version: v1, Kind: "Role", Plural: "roles",
	New:                 func() *rbacv1.Role { return &rbacv1.Role{} },
	NewList:             func() runtime.Object { return &rbacv1.RoleList{} },
	ValidateName:        resource.PathSegmentName,
	AllowCreateOnUpdate: true,
	Columns:             roleColumns,
	Validate:            validateRole,
	ValidateUpdate:      validateRoleUpdate,
}
