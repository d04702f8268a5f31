package networking

import (
	"fmt"
	"net"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// classAnnotation is how an ingress named its class before there was a field for it.
const classAnnotation = "kubernetes.io/ingress.class"

func validateIngressCreate(i *networkingv1.Ingress) field.ErrorList {
	errs := validateIngress(i)
	if _, ok := i.Annotations[classAnnotation]; ok && i.Spec.IngressClassName != nil {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "annotations").Key(classAnnotation), i.Annotations[classAnnotation],
			"can not be set when the class field is also set"))
	}
	return errs
}

func validateIngressUpdate(i, _ *networkingv1.Ingress) field.ErrorList { return validateIngress(i) }

func validateIngress(i *networkingv1.Ingress) field.ErrorList {
	s := &i.Spec
	var errs field.ErrorList
	if len(s.Rules) == 0 && s.DefaultBackend == nil {
		errs = append(errs, field.Invalid(specPath, s.Rules, "either `defaultBackend` or `rules` must be specified"))
	}
	if s.DefaultBackend != nil {
		errs = append(errs, checkBackend(specPath.Child("defaultBackend"), s.DefaultBackend)...)
	}
	errs = append(errs, resource.Each(specPath.Child("rules"), s.Rules, checkIngressRule)...)
	for n, t := range s.TLS {
		for j, host := range t.Hosts {
			at := specPath.Child("tls").Index(n).Child("hosts").Index(j)
			errs = append(errs, checkHostName(at, host)...)
		}
		if t.SecretName != "" {
			errs = append(errs, resource.DNSSubdomain(specPath.Child("tls").Index(n).Child("secretName"), t.SecretName)...)
		}
	}
	if s.IngressClassName != nil {
		errs = append(errs, resource.DNSSubdomain(specPath.Child("ingressClassName"), *s.IngressClassName)...)
	}
	return errs
}

func checkHostName(path *field.Path, host string) field.ErrorList {
	if strings.Contains(host, "*") {
		return resource.Messages(path, host, utilvalidation.IsWildcardDNS1123Subdomain(host))
	}
	return resource.Messages(path, host, utilvalidation.IsDNS1123Subdomain(host))
}

func checkIngressRule(path *field.Path, r *networkingv1.IngressRule) field.ErrorList {
	var errs field.ErrorList
	if r.Host != "" {
		if net.ParseIP(r.Host) != nil {
			errs = append(errs, field.Invalid(path.Child("host"), r.Host, "must be a DNS name, not an IP address"))
		}
		errs = append(errs, checkHostName(path.Child("host"), r.Host)...)
	}
	if r.HTTP == nil {
		return errs
	}
	paths := path.Child("http", "paths")
	if len(r.HTTP.Paths) == 0 {
		errs = append(errs, field.Required(paths, ""))
	}
	return append(errs, resource.Each(paths, r.HTTP.Paths, checkIngressPath)...)
}

func checkIngressPath(path *field.Path, p *networkingv1.HTTPIngressPath) field.ErrorList {
	at := path.Child("path")
	if p.PathType == nil {
		return append(field.ErrorList{field.Required(path.Child("pathType"), "pathType must be specified")}, checkBackend(path.Child("backend"), &p.Backend)...)
	}
	var errs field.ErrorList
	switch *p.PathType {
	case networkingv1.PathTypeExact, networkingv1.PathTypePrefix:
		if !strings.HasPrefix(p.Path, "/") {
			errs = append(errs, field.Invalid(at, p.Path, "must be an absolute path"))
		}
		for _, bad := range []string{"//", "/./", "/../", "%2f", "%2F"} {
			if strings.Contains(p.Path, bad) {
				errs = append(errs, field.Invalid(at, p.Path, fmt.Sprintf("must not contain '%s'", bad)))
			}
		}
		for _, bad := range []string{"/..", "/."} {
			if strings.HasSuffix(p.Path, bad) {
				errs = append(errs, field.Invalid(at, p.Path, fmt.Sprintf("cannot end with '%s'", bad)))
			}
		}
	case networkingv1.PathTypeImplementationSpecific:
		if p.Path != "" && !strings.HasPrefix(p.Path, "/") {
			errs = append(errs, field.Invalid(at, p.Path, "must be an absolute path"))
		}
	default:
		errs = append(errs, resource.Supported(path.Child("pathType"), *p.PathType,
			networkingv1.PathTypeExact, networkingv1.PathTypeImplementationSpecific, networkingv1.PathTypePrefix)...)
	}
	return append(errs, checkBackend(path.Child("backend"), &p.Backend)...)
}

// checkBackend: a backend is a service, with its port by name or by number, or another resource.
func checkBackend(path *field.Path, b *networkingv1.IngressBackend) field.ErrorList {
	switch {
	case b.Resource != nil && b.Service != nil:
		return field.ErrorList{field.Invalid(path, "", "cannot set both resource and service backends")}
	case b.Resource != nil:
		errs := resource.NotEmpty(path.Child("resource", "kind"), b.Resource.Kind)
		return append(errs, resource.NotEmpty(path.Child("resource", "name"), b.Resource.Name)...)
	case b.Service == nil:
		return field.ErrorList{field.Required(path, "port name or number is required")}
	}
	s := b.Service
	var errs field.ErrorList
	if s.Name == "" {
		errs = append(errs, field.Required(path.Child("service", "name"), ""))
	} else {
		errs = append(errs, resource.Messages(path.Child("service", "name"), s.Name, utilvalidation.IsDNS1035Label(s.Name))...)
	}
	port := path.Child("service", "port")
	switch {
	case s.Port.Name != "" && s.Port.Number != 0:
		errs = append(errs, field.Invalid(path, "", "cannot set both port name & port number"))
	case s.Port.Name != "":
		errs = append(errs, resource.Messages(port.Child("name"), s.Port.Name, utilvalidation.IsValidPortName(s.Port.Name))...)
	case s.Port.Number != 0:
		errs = append(errs, resource.PortNumber(port.Child("number"), s.Port.Number)...)
	default:
		errs = append(errs, field.Required(path, "port name or number is required"))
	}
	return errs
}

func validateIngressStatus(i, _ *networkingv1.Ingress) field.ErrorList {
	return resource.Each(field.NewPath("status", "loadBalancer", "ingress"), i.Status.LoadBalancer.Ingress,
		func(at *field.Path, a *networkingv1.IngressLoadBalancerIngress) field.ErrorList {
			var errs field.ErrorList
			if a.IP != "" {
				errs = append(errs, utilvalidation.IsValidIPForLegacyField(at.Child("ip"), a.IP, false, nil)...)
			}
			if a.Hostname != "" {
				errs = append(errs, resource.DNSSubdomain(at.Child("hostname"), a.Hostname)...)
			}
			return errs
		})
}
