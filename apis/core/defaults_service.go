package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"coracle.dev/coracle/apis/resource"
)

// defaultService fills what does not depend on the cluster; cluster addresses, their families and
// node ports are the allocator's.
func defaultService(s *corev1.Service) {
	spec := &s.Spec
	resource.SetDefault(&spec.SessionAffinity, corev1.ServiceAffinityNone)
	resource.SetDefault(&spec.Type, corev1.ServiceTypeClusterIP)
	if spec.SessionAffinity == corev1.ServiceAffinityNone {
		spec.SessionAffinityConfig = nil
	} else if spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		resource.SetPointer(&spec.SessionAffinityConfig, corev1.SessionAffinityConfig{})
		resource.SetPointer(&spec.SessionAffinityConfig.ClientIP, corev1.ClientIPConfig{})
		resource.SetPointer(&spec.SessionAffinityConfig.ClientIP.TimeoutSeconds, corev1.DefaultClientIPServiceAffinitySeconds)
	}
	for i := range spec.Ports {
		p := &spec.Ports[i]
		resource.SetDefault(&p.Protocol, corev1.ProtocolTCP)
		if p.TargetPort == intstr.FromInt32(0) || p.TargetPort == intstr.FromString("") {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
	if facesOutside(spec) {
		resource.SetDefault(&spec.ExternalTrafficPolicy, corev1.ServiceExternalTrafficPolicyCluster)
	}
	if hasClusterIPs(spec) {
		resource.SetPointer(&spec.InternalTrafficPolicy, corev1.ServiceInternalTrafficPolicyCluster)
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer {
		resource.SetPointer(&spec.AllocateLoadBalancerNodePorts, true)
		for i := range s.Status.LoadBalancer.Ingress {
			if ing := &s.Status.LoadBalancer.Ingress[i]; ing.IP != "" {
				resource.SetPointer(&ing.IPMode, corev1.LoadBalancerIPModeVIP)
			}
		}
	}
}

// facesOutside tells services that are reached from outside of the cluster.
func facesOutside(s *corev1.ServiceSpec) bool {
	return s.Type == corev1.ServiceTypeLoadBalancer || s.Type == corev1.ServiceTypeNodePort ||
		s.Type == corev1.ServiceTypeClusterIP && len(s.ExternalIPs) > 0
}

func hasClusterIPs(s *corev1.ServiceSpec) bool {
	return s.Type == corev1.ServiceTypeNodePort || s.Type == corev1.ServiceTypeLoadBalancer || s.Type == corev1.ServiceTypeClusterIP
}
