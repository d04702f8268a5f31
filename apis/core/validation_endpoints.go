package core

//lint:file-ignore SA1019 the API serves Endpoints, deprecated or not

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// checkOrdinaryIP keeps addresses out by which one host would reach itself or its link.
func checkOrdinaryIP(path *field.Path, text string) field.ErrorList {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return nil // a legacy spelling, such as 010.0.0.1; what it means is not certain
	}
	var fault string
	switch ip = ip.Unmap(); {
	case ip.IsUnspecified():
		fault = "may not be unspecified (0.0.0.0 or ::)"
	case ip.IsLoopback():
		fault = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
	case ip.IsLinkLocalUnicast():
		fault = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
	case ip.IsLinkLocalMulticast():
		fault = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
	default:
		return nil
	}
	return field.ErrorList{field.Invalid(path, text, fault)}
}

func validateEndpoints(e *corev1.Endpoints) field.ErrorList {
	return resource.Each(field.NewPath("subsets"), e.Subsets, func(at *field.Path, s *corev1.EndpointSubset) field.ErrorList {
		var errs field.ErrorList
		if len(s.Addresses) == 0 && len(s.NotReadyAddresses) == 0 {
			errs = append(errs, field.Required(at, "must specify `addresses` or `notReadyAddresses`"))
		}
		errs = append(errs, resource.Each(at.Child("addresses"), s.Addresses, checkEndpointAddress)...)
		errs = append(errs, resource.Each(at.Child("notReadyAddresses"), s.NotReadyAddresses, checkEndpointAddress)...)
		several := len(s.Ports) > 1
		return append(errs, resource.Each(at.Child("ports"), s.Ports, func(at *field.Path, p *corev1.EndpointPort) field.ErrorList {
			return checkEndpointPort(at, p, several)
		})...)
	})
}

func checkEndpointAddress(path *field.Path, a *corev1.EndpointAddress) field.ErrorList {
	errs := utilvalidation.IsValidIPForLegacyField(path.Child("ip"), a.IP, false, nil)
	if a.Hostname != "" {
		errs = append(errs, resource.DNSLabel(path.Child("hostname"), a.Hostname)...)
	}
	if a.NodeName != nil {
		errs = append(errs, resource.DNSSubdomain(path.Child("nodeName"), *a.NodeName)...)
	}
	return append(errs, checkOrdinaryIP(path.Child("ip"), a.IP)...)
}

func checkEndpointPort(path *field.Path, p *corev1.EndpointPort, several bool) field.ErrorList {
	var errs field.ErrorList
	if p.Name != "" {
		errs = append(errs, resource.DNSLabel(path.Child("name"), p.Name)...)
	} else if several {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	errs = append(errs, resource.PortNumber(path.Child("port"), p.Port)...)
	errs = append(errs, resource.OneOf(path.Child("protocol"), p.Protocol, protocols...)...)
	if p.AppProtocol != nil {
		errs = append(errs, resource.QualifiedName(path.Child("appProtocol"), *p.AppProtocol)...)
	}
	return errs
}

func validateEndpointsUpdate(e, _ *corev1.Endpoints) field.ErrorList { return validateEndpoints(e) }
