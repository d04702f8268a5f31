package networking

import (
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"coracle.dev/coracle/apis/resource"
)

// shownHosts is how many hosts a row of ingresses shows.
const shownHosts = 3

var ingressColumns = []resource.Column[*networkingv1.Ingress]{
	resource.Name[*networkingv1.Ingress](),
	resource.Text("Class", func(i *networkingv1.Ingress) any { return resource.OrNone(resource.Deref(i.Spec.IngressClassName)) }),
	resource.Text("Hosts", func(i *networkingv1.Ingress) any {
		var hosts []string
		for _, r := range i.Spec.Rules {
			if r.Host != "" {
				hosts = append(hosts, r.Host)
			}
		}
		return resource.Or(resource.Shorten(hosts, shownHosts, ","), "*")
	}),
	resource.Text("Address", func(i *networkingv1.Ingress) any { return ingressAddress(i) }),
	resource.Text("Ports", func(i *networkingv1.Ingress) any {
		if len(i.Spec.TLS) > 0 {
			return "80, 443"
		}
		return "80"
	}),
	resource.Age[*networkingv1.Ingress](),
}

func ingressAddress(i *networkingv1.Ingress) string {
	var out []string
	for _, a := range i.Status.LoadBalancer.Ingress {
		if text := resource.Or(a.IP, a.Hostname); text != "" {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ",")
}

var ingressClassColumns = []resource.Column[*networkingv1.IngressClass]{
	resource.Name[*networkingv1.IngressClass](),
	resource.Text("Controller", func(c *networkingv1.IngressClass) any { return c.Spec.Controller }),
	resource.Text("Parameters", func(c *networkingv1.IngressClass) any {
		p := c.Spec.Parameters
		if p == nil {
			return resource.None
		}
		kind := p.Kind
		if p.APIGroup != nil {
			kind += "." + *p.APIGroup
		}
		return kind + "/" + p.Name
	}),
	resource.Age[*networkingv1.IngressClass](),
}

var ipAddressColumns = []resource.Column[*networkingv1.IPAddress]{
	resource.Name[*networkingv1.IPAddress](),
	resource.Text("ParentRef", func(a *networkingv1.IPAddress) any { return parentText(a.Spec.ParentRef) }),
}

// parentText is resource[.group]/[namespace/]name.
func parentText(p *networkingv1.ParentReference) string {
	if p == nil || p.Name == "" {
		return resource.None
	}
	kind := p.Resource
	if p.Group != "" {
		kind += "." + p.Group
	}
	if p.Namespace != "" {
		return kind + "/" + p.Namespace + "/" + p.Name
	}
	return kind + "/" + p.Name
}

var networkPolicyColumns = []resource.Column[*networkingv1.NetworkPolicy]{
	resource.Name[*networkingv1.NetworkPolicy](),
	resource.Text("Pod-Selector", func(p *networkingv1.NetworkPolicy) any { return resource.SelectorText(&p.Spec.PodSelector) }),
	resource.Age[*networkingv1.NetworkPolicy](),
}

var serviceCIDRColumns = []resource.Column[*networkingv1.ServiceCIDR]{
	resource.Name[*networkingv1.ServiceCIDR](),
	resource.Text("CIDRs", func(c *networkingv1.ServiceCIDR) any { return strings.Join(c.Spec.CIDRs, ",") }),
	resource.Age[*networkingv1.ServiceCIDR](),
}
