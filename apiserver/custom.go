package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/apiserver/admission/priority"
	"coracle.dev/coracle/apiserver/allocation"
	"coracle.dev/coracle/apiserver/auth/bootstrap"
	"coracle.dev/coracle/apiserver/auth/rbac"
	"coracle.dev/coracle/apiserver/auth/review"
	"coracle.dev/coracle/apiserver/componentstatus"
	"coracle.dev/coracle/apiserver/metricsapi"
	"coracle.dev/coracle/apiserver/registry"
	"coracle.dev/coracle/apiserver/scrapeapi"
	"coracle.dev/coracle/apiserver/storage"
	"coracle.dev/coracle/apiserver/subresource/connect"
	"coracle.dev/coracle/apiserver/subresource/csr"
	"coracle.dev/coracle/apiserver/subresource/namespace"
	"coracle.dev/coracle/apiserver/subresource/node"
	"coracle.dev/coracle/apiserver/subresource/pod"
	"coracle.dev/coracle/apiserver/subresource/service"
	"coracle.dev/coracle/apiserver/subresource/serviceaccount"
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
	requests := r.stores[certificatesv1.Resource("certificatesigningrequests")]
	csr.Sign(requests)
	r.put(certificatesv1.SchemeGroupVersion, "certificatesigningrequests/approval", csr.NewApproval(requests))
	c.reviews(r)
	c.tokens(r)
	if err := c.connections(r); err != nil {
		return err
	}
	return c.services(r)
}

// connections are the subresources that lead to what runs on nodes.
func (c *chain) connections(r *served) error {
	v1 := corev1.SchemeGroupVersion
	nodes, pods := r.stores[corev1.Resource("nodes")], r.stores[corev1.Resource("pods")].Store
	k := c.options.Kubelet
	connector, err := connect.New(connect.Options{
		CertFile: k.ClientCertFile, KeyFile: k.ClientKeyFile, CAFile: k.CAFile, Preferred: k.PreferredAddressTypes,
	}, nodes)
	if err != nil {
		return err
	}
	c.metrics = metricsapi.New(connector, nodes, pods)
	c.scrape = scrapeapi.New(connector, pods, map[string]rest.Getter{
		"services": r.stores[corev1.Resource("services")], "replicationcontrollers": r.stores[corev1.Resource("replicationcontrollers")],
		"deployments.apps": r.stores[appsv1.Resource("deployments")], "replicasets.apps": r.stores[appsv1.Resource("replicasets")],
		"statefulsets.apps": r.stores[appsv1.Resource("statefulsets")], "daemonsets.apps": r.stores[appsv1.Resource("daemonsets")],
	})
	r.put(v1, "pods/log", pod.NewLog(pods, connector))
	r.put(v1, "pods/exec", pod.NewExec(pods, connector))
	r.put(v1, "pods/attach", pod.NewAttach(pods, connector))
	r.put(v1, "pods/portforward", pod.NewPortForward(pods, connector))
	r.put(v1, "pods/proxy", pod.NewProxy(pods, connector))
	r.put(v1, "nodes/proxy", node.NewProxy(connector))
	r.put(v1, "services/proxy", service.NewProxy(
		r.stores[corev1.Resource("services")], r.stores[discoveryv1.Resource("endpointslices")], connector))
	return nil
}

// reviews answer who somebody is and what they may do.
func (c *chain) reviews(r *served) {
	r.put(authenticationv1.SchemeGroupVersion, "tokenreviews", review.Tokens(c.Authenticator, c.options.Authentication.APIAudiences))
	r.put(authenticationv1.SchemeGroupVersion, "selfsubjectreviews", review.Self())
	v1 := authorizationv1.SchemeGroupVersion
	r.put(v1, "subjectaccessreviews", review.Access(c.Authorizer))
	r.put(v1, "localsubjectaccessreviews", review.LocalAccess(c.Authorizer))
	r.put(v1, "selfsubjectaccessreviews", review.SelfAccess(c.Authorizer))
	r.put(v1, "selfsubjectrulesreviews", review.SelfRules(c.RuleResolver))
}

// tokens issues service account tokens where there is a key to sign them with.
func (c *chain) tokens(r *served) {
	if c.Tokens.Issuer == nil {
		return
	}
	get := func(resource string) *registry.Storage { return r.stores[corev1.Resource(resource)] }
	o := c.options.Authentication
	r.put(corev1.SchemeGroupVersion, "serviceaccounts/token", serviceaccount.NewToken(
		get("serviceaccounts"), get("pods"), get("secrets"), get("nodes"), serviceaccount.TokenOptions{
			Issuer: c.Tokens.Issuer, Audiences: o.APIAudiences, MaxLifetime: o.ServiceAccountMaxExpiration, Stretch: o.ServiceAccountExtend,
		}))
}

// services gives services their addresses and ports.
func (c *chain) services(r *served) error {
	cidr, err := netip.ParsePrefix(c.ServiceRange.String())
	if err != nil {
		return fmt.Errorf("reading service range: %w", err)
	}
	encoding, err := storage.NewEncoding(c.Codecs, corev1.SchemeGroupVersion, storage.Protobuf)
	if err != nil {
		return err
	}
	ranges := c.Informers.Networking().V1().ServiceCIDRs()
	ranges.Informer() // so that it is started with the others
	record, err := c.backend.Raw(corev1.Resource("services"), encoding, path.Dir(allocation.PortsKey),
		func() runtime.Object { return &corev1.RangeAllocation{} }, func() runtime.Object { return &corev1.RangeAllocation{} })
	if err != nil {
		return err
	}
	addresses := service.NewAddressStore(r.stores[networkingv1.Resource("ipaddresses")])
	services := r.stores[corev1.Resource("services")]
	allocator, err := service.NewAllocator(allocation.NewPorts(c.NodePorts, &allocation.Record{Storage: record}), addresses, service.Ranges(ranges.Lister()), cidr)
	if err != nil {
		return err
	}
	r.put(corev1.SchemeGroupVersion, "services", service.New(services, allocator))
	c.allocate = func(hook genericapiserver.PostStartHookContext) error {
		// A cache that is not filled yet refuses lists, and the failure of a hook ends the process.
		if err := awaitStores(hook, readiness(r)); err != nil {
			return err
		}
		list := service.List(services)
		if err := allocator.Start(hook, list); err != nil {
			return err
		}
		go allocator.RunRepair(hook, list)
		return nil
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
	if c.bootstrapRoles {
		policy, err := bootstrap.Default()
		if err != nil {
			return fmt.Errorf("reading bootstrap roles: %w", err)
		}
		errs = append(errs, server.AddPostStartHook("rbac/bootstrap-roles", func(hook genericapiserver.PostStartHookContext) error {
			if err := persist(hook, "making bootstrap roles", func(ctx context.Context) error { return bootstrap.Ensure(ctx, c.Client, policy) }); err != nil {
				return err
			}
			// Who is told that the server is ready shall have the rights that the roles give.
			return wait.PollUntilContextCancel(hook, 2*time.Millisecond, true, func(context.Context) (bool, error) {
				return c.Roles.Seen(policy.Objects()...), nil
			})
		}))
	}
	errs = append(errs, server.AddPostStartHook("service-allocation", c.allocate))
	errs = append(errs, server.AddPostStartHook("measure-nodes", func(hook genericapiserver.PostStartHookContext) error {
		go c.metrics.Run(hook)
		return nil
	}))
	errs = append(errs, server.AddPostStartHook("scheduling/bootstrap-system-priority-classes", func(hook genericapiserver.PostStartHookContext) error {
		return persist(hook, "making priority classes", func(ctx context.Context) error { return priority.Ensure(ctx, c.Client) })
	}))
	if g := c.Nodes; g != nil {
		errs = append(errs, server.AddPostStartHook("node-authorizer", func(hook genericapiserver.PostStartHookContext) error {
			go g.Run(hook, c.Client)
			return nil
		}))
	}
	if len(c.follow) > 0 {
		errs = append(errs, server.AddPostStartHook("follow-configuration-files", func(hook genericapiserver.PostStartHookContext) error {
			for _, f := range c.follow {
				go f(hook)
			}
			return nil
		}))
	}
	if c.Tokens.Metadata != nil {
		c.Tokens.Metadata.Install(server.Handler.NonGoRestfulMux)
	}
	return errors.Join(errs...)
}

// persist tries until f succeeds, for 30 seconds: the failure of a hook ends the process.
func persist(ctx context.Context, what string, f func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		if last = f(ctx); last != nil {
			klog.FromContext(ctx).V(2).Info("Trying again", "what", what, "err", last)
		}
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, errors.Join(err, last))
	}
	return nil
}
