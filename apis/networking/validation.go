package networking

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

var specPath = field.NewPath("spec")

func validateNetworkPolicy(p *networkingv1.NetworkPolicy) field.ErrorList {
	errs := resource.Selector(specPath.Child("podSelector"), &p.Spec.PodSelector)
	errs = append(errs, resource.Each(specPath.Child("ingress"), p.Spec.Ingress, func(at *field.Path, r *networkingv1.NetworkPolicyIngressRule) field.ErrorList {
		errs := resource.Each(at.Child("ports"), r.Ports, checkPolicyPort)
		return append(errs, resource.Each(at.Child("from"), r.From, checkPeer)...)
	})...)
	errs = append(errs, resource.Each(specPath.Child("egress"), p.Spec.Egress, func(at *field.Path, r *networkingv1.NetworkPolicyEgressRule) field.ErrorList {
		errs := resource.Each(at.Child("ports"), r.Ports, checkPolicyPort)
		return append(errs, resource.Each(at.Child("to"), r.To, checkPeer)...)
	})...)
	types := specPath.Child("policyTypes")
	if len(p.Spec.PolicyTypes) > 2 {
		return append(errs, field.Invalid(types, &p.Spec.PolicyTypes, "may not specify more than two policyTypes"))
	}
	for i, t := range p.Spec.PolicyTypes {
		errs = append(errs, resource.Supported(types.Index(i), t, networkingv1.PolicyTypeEgress, networkingv1.PolicyTypeIngress)...)
	}
	return errs
}

func validateNetworkPolicyUpdate(p, _ *networkingv1.NetworkPolicy) field.ErrorList {
	return validateNetworkPolicy(p)
}

func checkPolicyPort(path *field.Path, p *networkingv1.NetworkPolicyPort) field.ErrorList {
	var errs field.ErrorList
	if p.Protocol != nil {
		errs = append(errs, resource.Supported(path.Child("protocol"), *p.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
	}
	end := path.Child("endPort")
	if p.Port == nil {
		if p.EndPort != nil {
			errs = append(errs, field.Invalid(end, *p.EndPort, "may not be specified when `port` is not specified"))
		}
		return errs
	}
	errs = append(errs, pod.CheckPort(path.Child("port"), *p.Port)...)
	if p.EndPort == nil {
		return errs
	}
	switch {
	case p.Port.Type == intstr.String:
		errs = append(errs, field.Invalid(end, *p.EndPort, "may not be specified when `port` is non-numeric"))
	case *p.EndPort < p.Port.IntVal:
		errs = append(errs, field.Invalid(end, *p.EndPort, "must be greater than or equal to `port`"))
	}
	return append(errs, resource.PortNumber(end, *p.EndPort)...)
}

func checkPeer(path *field.Path, p *networkingv1.NetworkPolicyPeer) field.ErrorList {
	errs := resource.Selector(path.Child("podSelector"), p.PodSelector)
	errs = append(errs, resource.Selector(path.Child("namespaceSelector"), p.NamespaceSelector)...)
	switch selectors := p.PodSelector != nil || p.NamespaceSelector != nil; {
	case !selectors && p.IPBlock == nil:
		errs = append(errs, field.Required(path, "must specify a peer"))
	case selectors && p.IPBlock != nil:
		errs = append(errs, field.Forbidden(path, "may not specify both ipBlock and another peer"))
	case p.IPBlock != nil:
		errs = append(errs, checkBlock(path.Child("ipBlock"), p.IPBlock)...)
	}
	return errs
}

func checkBlock(path *field.Path, b *networkingv1.IPBlock) field.ErrorList {
	if b.CIDR == "" {
		return field.ErrorList{field.Required(path.Child("cidr"), "")}
	}
	errs := utilvalidation.IsValidCIDRForLegacyField(path.Child("cidr"), b.CIDR, false, nil)
	whole, err := netip.ParsePrefix(b.CIDR)
	for i, text := range b.Except {
		at := path.Child("except").Index(i)
		if bad := utilvalidation.IsValidCIDRForLegacyField(at, text, false, nil); len(bad) > 0 {
			errs = append(errs, bad...)
			continue
		}
		part, partErr := netip.ParsePrefix(text)
		if err == nil && partErr == nil && (!whole.Contains(part.Addr()) || part.Bits() <= whole.Bits()) {
			errs = append(errs, field.Invalid(at, text, "must be a strict subset of `cidr`"))
		}
	}
	return errs
}

func validateIngressClass(c *networkingv1.IngressClass) field.ErrorList {
	at := specPath.Child("controller")
	var errs field.ErrorList
	if c.Spec.Controller != "" {
		if len(c.Spec.Controller) > 250 {
			errs = append(errs, field.TooLong(at, "", 250))
		}
		errs = append(errs, utilvalidation.IsDomainPrefixedPath(at, c.Spec.Controller)...)
	}
	p := c.Spec.Parameters
	if p == nil {
		return errs
	}
	at = specPath.Child("parameters")
	errs = append(errs, resource.NotEmpty(at.Child("kind"), p.Kind)...)
	errs = append(errs, resource.NotEmpty(at.Child("name"), p.Name)...)
	if p.Scope == nil {
		return append(errs, field.Required(at.Child("scope"), ""))
	}
	switch namespace := resource.Deref(p.Namespace); *p.Scope {
	case networkingv1.IngressClassParametersReferenceScopeNamespace:
		if namespace == "" {
			errs = append(errs, field.Required(at.Child("namespace"), "`parameters.scope` is set to 'Namespace'"))
		}
	case networkingv1.IngressClassParametersReferenceScopeCluster:
		if p.Namespace != nil {
			errs = append(errs, field.Forbidden(at.Child("namespace"), "`parameters.scope` is set to 'Cluster'"))
		}
	default:
		errs = append(errs, resource.Supported(at.Child("scope"), *p.Scope,
			networkingv1.IngressClassParametersReferenceScopeCluster, networkingv1.IngressClassParametersReferenceScopeNamespace)...)
	}
	return errs
}

func validateIngressClassUpdate(c, old *networkingv1.IngressClass) field.ErrorList {
	return append(validateIngressClass(c), resource.Unchanged(specPath.Child("controller"), c.Spec.Controller, old.Spec.Controller)...)
}

func validateIPAddress(a *networkingv1.IPAddress) field.ErrorList {
	p, at := a.Spec.ParentRef, specPath.Child("parentRef")
	if p == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	errs := resource.NotEmpty(at.Child("resource"), p.Resource)
	errs = append(errs, resource.NotEmpty(at.Child("name"), p.Name)...)
	if p.Group != "" {
		errs = append(errs, resource.DNSSubdomain(at.Child("group"), p.Group)...)
	}
	return errs
}

func validateIPAddressUpdate(a, old *networkingv1.IPAddress) field.ErrorList {
	return resource.Unchanged(specPath.Child("parentRef"), a.Spec.ParentRef, old.Spec.ParentRef)
}

func validateServiceCIDR(c *networkingv1.ServiceCIDR) field.ErrorList {
	at := specPath.Child("cidrs")
	if len(c.Spec.CIDRs) == 0 {
		return field.ErrorList{field.Required(at, "at least one CIDR required")}
	}
	var errs field.ErrorList
	if len(c.Spec.CIDRs) > 2 {
		errs = append(errs, field.Invalid(at, c.Spec.CIDRs, "may only hold up to 2 values"))
	}
	if len(c.Spec.CIDRs) == 2 && strings.Contains(c.Spec.CIDRs[0], ":") == strings.Contains(c.Spec.CIDRs[1], ":") {
		errs = append(errs, field.Invalid(at, c.Spec.CIDRs, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96"))
	}
	for i, cidr := range c.Spec.CIDRs {
		errs = append(errs, utilvalidation.IsValidCIDR(at.Index(i), cidr)...)
	}
	return errs
}

// validateServiceCIDRUpdate: a range may gain one of the other family, and change in nothing else.
func validateServiceCIDRUpdate(c, old *networkingv1.ServiceCIDR) field.ErrorList {
	at := specPath.Child("cidrs")
	var errs field.ErrorList
	for i, cidr := range old.Spec.CIDRs {
		if i >= len(c.Spec.CIDRs) || c.Spec.CIDRs[i] != cidr {
			errs = append(errs, field.Invalid(at.Index(i), c.Spec.CIDRs, resource.Immutable))
		}
	}
	return append(errs, validateServiceCIDR(c)...)
}
