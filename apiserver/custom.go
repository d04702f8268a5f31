package apiserver

import (
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericapiserver "k8s.io/apiserver/pkg/server"

	"coracle.dev/coracle/apiserver/auth/bootstrap"
	"coracle.dev/coracle/apiserver/auth/rbac"
	"coracle.dev/coracle/apiserver/componentstatus"
	"coracle.dev/coracle/apiserver/registry"
	"coracle.dev/coracle/apiserver/subresource/namespace"
	"coracle.dev/coracle/apiserver/subresource/pod"
)

// customize is the explicit list of the resources that are more than their descriptor: it puts their
// storages in place of the derived ones, and adds their subresources.
func (c *chain) customize(r *served) error {
	v1 := corev1.SchemeGroupVersion
	r.put(v1, "componentstatuses", componentstatus.New(c.componentChecks))

	namespaces := r.stores[corev1.Resource("namespaces")]
	r.put(v1, "namespaces", namespace.New(namespaces))
	r.put(v1, "namespaces/finalize", namespace.NewFinalize(namespaces))

	pods := r.stores[corev1.Resource("pods")]
	budgets := r.stores[policyv1.Resource("poddisruptionbudgets")]
	binding := pod.NewBinding(pods.Store)
	r.put(v1, "bindings", binding.Legacy())
	r.put(v1, "pods/binding", binding)
	r.put(v1, "pods/eviction", pod.NewEviction(pods.Store, budgets.Store))
	r.put(v1, "pods/ephemeralcontainers", pod.NewEphemeralContainers(pods))
	r.put(v1, "pods/resize", pod.NewResize(pods))

	if c.Roles != nil {
		c.guard(r)
	}
	return nil
}

// guard keeps users from granting more than they have.
func (c *chain) guard(r *served) {
	for resource, guard := range map[string]func(*registry.Storage) *rbac.Guarded{
		"roles":               func(s *registry.Storage) *rbac.Guarded { return rbac.GuardRoles(s, c.Roles, c.Authorizer) },
		"clusterroles":        func(s *registry.Storage) *rbac.Guarded { return rbac.GuardRoles(s, c.Roles, c.Authorizer) },
		"rolebindings":        func(s *registry.Storage) *rbac.Guarded { return rbac.GuardBindings(s, c.Roles, c.Authorizer) },
		"clusterrolebindings": func(s *registry.Storage) *rbac.Guarded { return rbac.GuardBindings(s, c.Roles, c.Authorizer) },
	} {
		s := r.stores[schema.GroupResource{Group: rbacv1.GroupName, Resource: resource}]
		r.put(rbacv1.SchemeGroupVersion, resource, guard(s))
	}
}

// customHooks are the post-start hooks of the custom parts.
func (c *chain) customHooks(server *genericapiserver.GenericAPIServer) error {
	var errs []error
	if slices.Contains(c.options.AuthorizationModes, "RBAC") {
		policy, err := bootstrap.Default()
		if err != nil {
			return fmt.Errorf("reading bootstrap roles: %w", err)
		}
		errs = append(errs, server.AddPostStartHook("rbac/bootstrap-roles", func(hook genericapiserver.PostStartHookContext) error {
			return bootstrap.Ensure(hook, c.Client, policy)
		}))
	}
	if c.Tokens.Metadata != nil {
		c.Tokens.Metadata.Install(server.Handler.NonGoRestfulMux)
	}
	return errors.Join(errs...)
}
