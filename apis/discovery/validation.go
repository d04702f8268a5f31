package discovery

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

const (
	maxEndpoints = 1000
	maxPorts     = 20000
	maxAddresses = 100
	maxZones     = 8
)

func validateEndpointSlice(s *discoveryv1.EndpointSlice) field.ErrorList {
	errs := resource.OneOf(field.NewPath("addressType"), s.AddressType, discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)
	endpoints, ports := field.NewPath("endpoints"), field.NewPath("ports")
	if len(s.Endpoints) > maxEndpoints {
		errs = append(errs, field.TooMany(endpoints, len(s.Endpoints), maxEndpoints))
	} else {
		errs = append(errs, resource.Each(endpoints, s.Endpoints, func(at *field.Path, e *discoveryv1.Endpoint) field.ErrorList {
			return checkEndpoint(at, e, s.AddressType)
		})...)
	}
	if len(s.Ports) > maxPorts {
		return append(errs, field.TooMany(ports, len(s.Ports), maxPorts))
	}
	return append(errs, checkPorts(ports, s.Ports)...)
}

// validateEndpointSliceUpdate: the kind of addresses is the slice's for good.
func validateEndpointSliceUpdate(s, old *discoveryv1.EndpointSlice) field.ErrorList {
	return append(validateEndpointSlice(s), resource.Unchanged(field.NewPath("addressType"), s.AddressType, old.AddressType)...)
}

func checkEndpoint(path *field.Path, e *discoveryv1.Endpoint, kind discoveryv1.AddressType) field.ErrorList {
	var errs field.ErrorList
	addresses := path.Child("addresses")
	switch {
	case len(e.Addresses) == 0:
		errs = append(errs, field.Required(addresses, "must contain at least 1 address"))
	case len(e.Addresses) > maxAddresses:
		errs = append(errs, field.TooMany(addresses, len(e.Addresses), maxAddresses))
	}
	for i, a := range e.Addresses {
		errs = append(errs, checkAddress(addresses.Index(i), a, kind)...)
	}
	if e.NodeName != nil {
		errs = append(errs, resource.DNSSubdomain(path.Child("nodeName"), *e.NodeName)...)
	}
	if e.Hostname != nil {
		errs = append(errs, resource.DNSLabel(path.Child("hostname"), *e.Hostname)...)
	}
	if e.Hints != nil && len(e.Hints.ForZones) > maxZones {
		errs = append(errs, field.TooMany(path.Child("hints", "forZones"), len(e.Hints.ForZones), maxZones))
	}
	return errs
}

func checkAddress(path *field.Path, text string, kind discoveryv1.AddressType) field.ErrorList {
	if kind == discoveryv1.AddressTypeFQDN {
		return utilvalidation.IsFullyQualifiedDomainName(path, text)
	}
	if errs := utilvalidation.IsValidIPForLegacyField(path, text, false, nil); len(errs) > 0 {
		return errs
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return nil // a legacy spelling
	}
	var fault string
	switch {
	case kind == discoveryv1.AddressTypeIPv4 && !ip.Is4():
		fault = "must be an IPv4 address"
	case kind == discoveryv1.AddressTypeIPv6 && !ip.Is6():
		fault = "must be an IPv6 address"
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

func checkPorts(path *field.Path, ports []discoveryv1.EndpointPort) field.ErrorList {
	seen := map[string]bool{}
	return resource.Each(path, ports, func(at *field.Path, p *discoveryv1.EndpointPort) field.ErrorList {
		name := resource.Deref(p.Name)
		var errs field.ErrorList
		if name != "" {
			errs = append(errs, resource.DNSLabel(at.Child("name"), name)...)
		}
		if seen[name] {
			errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
		}
		seen[name] = true
		if p.Protocol == nil {
			errs = append(errs, field.Required(at.Child("protocol"), ""))
		} else {
			errs = append(errs, resource.Supported(at.Child("protocol"), *p.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
		}
		if p.Port != nil {
			errs = append(errs, resource.PortNumber(at.Child("port"), *p.Port)...)
		}
		if p.AppProtocol != nil {
			errs = append(errs, resource.QualifiedName(at.Child("appProtocol"), *p.AppProtocol)...)
		}
		return errs
	})
}
