package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

const (
	balancerOnly      = "may only be used when `type` is 'LoadBalancer'"
	maxAffinitySecs   = 86400
	kubeletPort       = 10250
	onceSet           = "may not change once set"
	notForExternal    = "may not be set for ExternalName services"
	externallyVisible = "may only be set for externally-accessible services"
)

var protocols = []corev1.Protocol{corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP}

func isHeadless(s *corev1.Service) bool {
	return s.Spec.ClusterIP == corev1.ClusterIPNone || len(s.Spec.ClusterIPs) == 1 && s.Spec.ClusterIPs[0] == corev1.ClusterIPNone
}

func validateService(s *corev1.Service) field.ErrorList {
	path, spec := field.NewPath("spec"), &s.Spec
	var errs field.ErrorList
	if len(spec.Ports) == 0 && !isHeadless(s) && spec.Type != corev1.ServiceTypeExternalName {
		errs = append(errs, field.Required(path.Child("ports"), ""))
	}
	errs = append(errs, resource.OneOf(path.Child("type"), spec.Type, corev1.ServiceTypeClusterIP,
		corev1.ServiceTypeExternalName, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort)...)
	errs = append(errs, checkServiceType(path, s)...)
	errs = append(errs, checkServicePorts(path.Child("ports"), spec)...)
	errs = append(errs, metavalidation.ValidateLabels(spec.Selector, path.Child("selector"))...)
	errs = append(errs, checkSessionAffinity(path, spec)...)
	errs = append(errs, checkClusterIPs(path, spec)...)
	for i, ip := range spec.ExternalIPs {
		at := path.Child("externalIPs").Index(i)
		if bad := utilvalidation.IsValidIPForLegacyField(at, ip, false, nil); len(bad) > 0 {
			errs = append(errs, bad...)
		} else {
			errs = append(errs, checkOrdinaryIP(at, ip)...)
		}
	}
	errs = append(errs, checkBalancer(path, spec)...)
	return append(errs, checkTrafficPolicies(path, spec)...)
}

// checkServiceType checks what one type of service must or may not have.
func checkServiceType(path *field.Path, s *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	spec := &s.Spec
	switch spec.Type {
	case corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort:
		if isHeadless(s) {
			errs = append(errs, field.Invalid(path.Child("clusterIPs").Index(0), corev1.ClusterIPNone,
				fmt.Sprintf("may not be set to 'None' for %s services", spec.Type)))
		}
		for i, p := range spec.Ports {
			if spec.Type == corev1.ServiceTypeLoadBalancer && p.Port == kubeletPort {
				errs = append(errs, field.Invalid(path.Child("ports").Index(i), p.Port,
					fmt.Sprintf("may not expose port %v externally since it is used by kubelet", kubeletPort)))
			}
		}
	case corev1.ServiceTypeExternalName:
		if len(spec.ClusterIPs) > 0 {
			errs = append(errs, field.Forbidden(path.Child("clusterIPs"), notForExternal))
		}
		if len(spec.IPFamilies) > 0 {
			errs = append(errs, field.Forbidden(path.Child("ipFamilies"), notForExternal))
		}
		if spec.IPFamilyPolicy != nil {
			errs = append(errs, field.Forbidden(path.Child("ipFamilyPolicy"), notForExternal))
		}
		// A trailing dot says that the name is complete.
		if name := strings.TrimSuffix(spec.ExternalName, "."); name == "" {
			errs = append(errs, field.Required(path.Child("externalName"), ""))
		} else {
			errs = append(errs, resource.DNSSubdomain(path.Child("externalName"), name)...)
		}
	case corev1.ServiceTypeClusterIP:
		for i, p := range spec.Ports {
			if p.NodePort != 0 {
				errs = append(errs, field.Forbidden(path.Child("ports").Index(i).Child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
			}
		}
	}
	return errs
}

func checkServicePorts(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	several := len(spec.Ports) > 1
	errs := resource.Each(path, spec.Ports, func(at *field.Path, p *corev1.ServicePort) field.ErrorList {
		var errs field.ErrorList
		if p.Name != "" {
			errs = append(errs, resource.DNSLabel(at.Child("name"), p.Name)...)
		} else if several {
			errs = append(errs, field.Required(at.Child("name"), ""))
		}
		errs = append(errs, resource.PortNumber(at.Child("port"), p.Port)...)
		errs = append(errs, resource.OneOf(at.Child("protocol"), p.Protocol, protocols...)...)
		errs = append(errs, pod.CheckPort(at.Child("targetPort"), p.TargetPort)...)
		if p.AppProtocol != nil {
			errs = append(errs, resource.QualifiedName(at.Child("appProtocol"), *p.AppProtocol)...)
		}
		if p.NodePort != 0 {
			errs = append(errs, resource.PortNumber(at.Child("nodePort"), p.NodePort)...)
		}
		return errs
	})
	errs = append(errs, resource.Unique(path, spec.Ports, "name", func(p *corev1.ServicePort) string { return p.Name })...)
	ports, nodePorts := map[corev1.ServicePort]bool{}, map[corev1.ServicePort]bool{}
	for i, p := range spec.Ports {
		key := corev1.ServicePort{Protocol: p.Protocol, Port: p.Port}
		if ports[key] {
			errs = append(errs, field.Duplicate(path.Index(i), key))
		}
		ports[key] = true
		nodeKey := corev1.ServicePort{Protocol: p.Protocol, NodePort: p.NodePort}
		if p.NodePort != 0 && nodePorts[nodeKey] {
			errs = append(errs, field.Duplicate(path.Index(i).Child("nodePort"), p.NodePort))
		}
		nodePorts[nodeKey] = true
	}
	return errs
}

func checkSessionAffinity(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	errs := resource.OneOf(path.Child("sessionAffinity"), spec.SessionAffinity, corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	config, path := spec.SessionAffinityConfig, path.Child("sessionAffinityConfig")
	switch {
	case spec.SessionAffinity == corev1.ServiceAffinityNone && config != nil:
		errs = append(errs, field.Forbidden(path, "must not be set when session affinity is None"))
	case spec.SessionAffinity == corev1.ServiceAffinityClientIP:
		at := path.Child("clientIP").Child("timeoutSeconds")
		if config == nil || config.ClientIP == nil || config.ClientIP.TimeoutSeconds == nil {
			return append(errs, field.Required(at, "when session affinity type is ClientIP"))
		}
		if n := *config.ClientIP.TimeoutSeconds; n <= 0 || n > maxAffinitySecs {
			errs = append(errs, field.Invalid(at, n, fmt.Sprintf("must be greater than 0 and less than %d", maxAffinitySecs)))
		}
	}
	return errs
}

// checkClusterIPs: clusterIP is the first of clusterIPs, of which there is one per family at most.
func checkClusterIPs(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	if spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	all := path.Child("clusterIPs")
	var errs field.ErrorList
	switch {
	case spec.ClusterIP == "" && len(spec.ClusterIPs) > 0:
		errs = append(errs, field.Invalid(all, spec.ClusterIPs, "must be empty when `clusterIP` is not specified"))
	case len(spec.ClusterIPs) > 0 && spec.ClusterIP != spec.ClusterIPs[0]:
		errs = append(errs, field.Invalid(all, spec.ClusterIPs, "first value must match `clusterIP`"))
	}
	if len(spec.ClusterIPs) > 2 {
		errs = append(errs, field.Invalid(all, spec.ClusterIPs, "may only hold up to 2 values"))
	}
	for i, ip := range spec.ClusterIPs {
		switch {
		case ip == corev1.ClusterIPNone && len(spec.ClusterIPs) == 1:
		case ip == corev1.ClusterIPNone:
			errs = append(errs, field.Invalid(all.Index(i), ip, "`None` must be the first and only value"))
		default:
			errs = append(errs, utilvalidation.IsValidIPForLegacyField(all.Index(i), ip, false, nil)...)
		}
	}
	if len(spec.ClusterIPs) == 2 && strings.Contains(spec.ClusterIPs[0], ":") == strings.Contains(spec.ClusterIPs[1], ":") {
		errs = append(errs, field.Invalid(all, spec.ClusterIPs, "may specify no more than one IP for each IP family"))
	}
	for i, f := range spec.IPFamilies {
		errs = append(errs, resource.Supported(path.Child("ipFamilies").Index(i), f, corev1.IPv4Protocol, corev1.IPv6Protocol)...)
	}
	errs = append(errs, resource.Unique(path.Child("ipFamilies"), spec.IPFamilies, "", func(f *corev1.IPFamily) string { return string(*f) })...)
	if p := spec.IPFamilyPolicy; p != nil {
		errs = append(errs, resource.Supported(path.Child("ipFamilyPolicy"), *p, corev1.IPFamilyPolicyPreferDualStack,
			corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack)...)
	}
	return errs
}

func checkBalancer(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	var errs field.ErrorList
	for i, cidr := range spec.LoadBalancerSourceRanges {
		errs = append(errs, utilvalidation.IsValidCIDRForLegacyField(path.Child("loadBalancerSourceRanges").Index(i), strings.TrimSpace(cidr), false, nil)...)
	}
	if spec.LoadBalancerClass != nil {
		errs = append(errs, resource.QualifiedName(path.Child("loadBalancerClass"), *spec.LoadBalancerClass)...)
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer {
		if spec.AllocateLoadBalancerNodePorts == nil {
			errs = append(errs, field.Required(path.Child("allocateLoadBalancerNodePorts"), ""))
		}
		return errs
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"loadBalancerSourceRanges", len(spec.LoadBalancerSourceRanges) > 0},
		{"allocateLoadBalancerNodePorts", spec.AllocateLoadBalancerNodePorts != nil},
		{"loadBalancerClass", spec.LoadBalancerClass != nil},
	} {
		if f.set {
			errs = append(errs, field.Forbidden(path.Child(f.name), balancerOnly))
		}
	}
	return errs
}

func checkTrafficPolicies(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	var errs field.ErrorList
	switch external := path.Child("externalTrafficPolicy"); {
	case !facesOutside(spec) && spec.ExternalTrafficPolicy != "":
		errs = append(errs, field.Invalid(external, spec.ExternalTrafficPolicy, externallyVisible))
	case facesOutside(spec):
		errs = append(errs, resource.OneOf(external, spec.ExternalTrafficPolicy,
			corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)...)
	}
	health := path.Child("healthCheckNodePort")
	if spec.HealthCheckNodePort < 0 {
		errs = append(errs, resource.NotNegative(health, spec.HealthCheckNodePort)...)
	} else if spec.HealthCheckNodePort > 0 &&
		(spec.Type != corev1.ServiceTypeLoadBalancer || spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal) {
		errs = append(errs, field.Invalid(health, spec.HealthCheckNodePort, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
	}
	if p := spec.InternalTrafficPolicy; p != nil {
		errs = append(errs, resource.Supported(path.Child("internalTrafficPolicy"), *p,
			corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)...)
	} else if hasClusterIPs(spec) {
		errs = append(errs, field.Required(path.Child("internalTrafficPolicy"), ""))
	}
	if d := spec.TrafficDistribution; d != nil {
		errs = append(errs, resource.Supported(path.Child("trafficDistribution"), *d, corev1.ServiceTrafficDistributionPreferClose,
			corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferSameNode)...)
	}
	return errs
}

// validateServiceUpdate: the first address stays, unless the service had none or will have none.
func validateServiceUpdate(s, old *corev1.Service) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if hasClusterIPs(&s.Spec) && hasClusterIPs(&old.Spec) && len(old.Spec.ClusterIPs) > 0 {
		switch {
		case len(s.Spec.ClusterIPs) == 0:
			errs = append(errs, field.Invalid(path.Child("clusterIPs").Index(0), s.Spec.ClusterIPs, "primary clusterIP can not be unset"))
		case s.Spec.ClusterIPs[0] != old.Spec.ClusterIPs[0]:
			errs = append(errs, field.Invalid(path.Child("clusterIPs").Index(0), s.Spec.ClusterIPs, onceSet))
		}
		if len(old.Spec.ClusterIPs) > 1 && len(s.Spec.ClusterIPs) > 1 && !slices.Equal(s.Spec.ClusterIPs[1:], old.Spec.ClusterIPs[1:]) {
			errs = append(errs, field.Invalid(path.Child("clusterIPs").Index(1), s.Spec.ClusterIPs, onceSet))
		}
		if len(old.Spec.IPFamilies) > 0 && len(s.Spec.IPFamilies) > 0 && s.Spec.IPFamilies[0] != old.Spec.IPFamilies[0] {
			errs = append(errs, field.Invalid(path.Child("ipFamilies").Index(0), s.Spec.IPFamilies, onceSet))
		}
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer && old.Spec.Type == corev1.ServiceTypeLoadBalancer &&
		resource.Deref(s.Spec.LoadBalancerClass) != resource.Deref(old.Spec.LoadBalancerClass) {
		errs = append(errs, field.Invalid(path.Child("loadBalancerClass"), s.Spec.LoadBalancerClass, onceSet))
	}
	if hasHealthPort(s) && hasHealthPort(old) && s.Spec.HealthCheckNodePort != old.Spec.HealthCheckNodePort {
		errs = append(errs, field.Forbidden(path.Child("healthCheckNodePort"), resource.Immutable))
	}
	return append(errs, validateService(s)...)
}

func hasHealthPort(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

// releaseBalancer: a service that no longer has a load balancer does not show the address of one.
func releaseBalancer(s, old *corev1.Service) {
	if old.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		s.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	}
}

func validateServiceStatusUpdate(s, _ *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer && len(s.Status.LoadBalancer.Ingress) > 0 {
		errs = append(errs, field.Forbidden(field.NewPath("status", "loadBalancer", "ingress"), "may only be used when `spec.type` is 'LoadBalancer'"))
	}
	return append(errs, resource.Each(field.NewPath("status", "loadBalancer", "ingress"), s.Status.LoadBalancer.Ingress,
		func(at *field.Path, i *corev1.LoadBalancerIngress) field.ErrorList {
			var errs field.ErrorList
			if i.IP != "" {
				errs = append(errs, utilvalidation.IsValidIPForLegacyField(at.Child("ip"), i.IP, false, nil)...)
			} else if i.IPMode != nil {
				errs = append(errs, field.Forbidden(at.Child("ipMode"), "may not be specified when `ip` is not set"))
			}
			if i.IPMode != nil {
				errs = append(errs, resource.Supported(at.Child("ipMode"), *i.IPMode, corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP)...)
			}
			if i.Hostname != "" {
				errs = append(errs, resource.DNSSubdomain(at.Child("hostname"), i.Hostname)...)
			}
			return errs
		})...)
}
