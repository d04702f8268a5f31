package service

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// needsClusterIP: a headless service has a cluster IP too, namely "None".
func needsClusterIP(s *corev1.Service) bool {
	switch s.Spec.Type {
	case corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer:
		return true
	}
	return false
}

func isHeadless(s *corev1.Service) bool {
	return len(s.Spec.ClusterIPs) > 0 && s.Spec.ClusterIPs[0] == corev1.ClusterIPNone ||
		len(s.Spec.ClusterIPs) == 0 && s.Spec.ClusterIP == corev1.ClusterIPNone
}

// needsNodePort reports whether the service has node ports; wantsNodePort whether it shall be given them.
func needsNodePort(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer
}

func wantsNodePort(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeNodePort ||
		s.Spec.Type == corev1.ServiceTypeLoadBalancer && (s.Spec.AllocateLoadBalancerNodePorts == nil || *s.Spec.AllocateLoadBalancerNodePorts)
}

func needsHealthPort(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

func needsExternalPolicy(s *corev1.Service) bool {
	return needsNodePort(s) || s.Spec.Type == corev1.ServiceTypeClusterIP && len(s.Spec.ExternalIPs) > 0
}

func sameClusterIPs(a, b *corev1.Service) bool {
	return a.Spec.ClusterIP == b.Spec.ClusterIP && slices.Equal(a.Spec.ClusterIPs, b.Spec.ClusterIPs)
}

func sameNodePorts(a, b *corev1.Service) bool {
	set := func(s *corev1.Service) []int32 {
		var ports []int32
		for i := range s.Spec.Ports {
			if p := s.Spec.Ports[i].NodePort; p != 0 {
				ports = append(ports, p)
			}
		}
		slices.Sort(ports)
		return ports
	}
	return slices.Equal(set(a), set(b))
}

// alignClusterIPs makes clusterIP and clusterIPs say the same where a writer knew only the former.
func alignClusterIPs(s, old *corev1.Service) {
	spec := &s.Spec
	if old == nil {
		if spec.ClusterIP != "" && len(spec.ClusterIPs) == 0 {
			spec.ClusterIPs = []string{spec.ClusterIP}
		}
		return
	}
	unchanged := slices.Equal(spec.ClusterIPs, old.Spec.ClusterIPs)
	switch {
	case spec.ClusterIP == "" && old.Spec.ClusterIP != "" && unchanged:
		spec.ClusterIPs = nil
	case spec.ClusterIP != "" && len(spec.ClusterIPs) == 0:
		spec.ClusterIPs = []string{spec.ClusterIP}
	case spec.ClusterIP != "" && spec.ClusterIP != old.Spec.ClusterIP && unchanged:
		spec.ClusterIPs = []string{spec.ClusterIP}
	}
}

// carryOver fills in what the old service was given and the writer did not repeat.
func carryOver(s, old *corev1.Service) {
	if needsClusterIP(old) && needsClusterIP(s) {
		if s.Spec.ClusterIP == "" {
			s.Spec.ClusterIP = old.Spec.ClusterIP
		}
		if len(s.Spec.ClusterIPs) == 0 && s.Spec.ClusterIP == old.Spec.ClusterIP {
			s.Spec.ClusterIPs = slices.Clone(old.Spec.ClusterIPs)
		}
	}
	if needsNodePort(old) && wantsNodePort(s) {
		carryOverPorts(s, old)
	}
	if needsHealthPort(old) && needsHealthPort(s) && s.Spec.HealthCheckNodePort == 0 {
		s.Spec.HealthCheckNodePort = old.Spec.HealthCheckNodePort
	}
}

// carryOverPorts goes by the names of ports. A node port that the writer gave to another port is not
// used twice.
func carryOverPorts(s, old *corev1.Service) {
	type key struct {
		name     string
		protocol corev1.Protocol
		port     int32
	}
	used := map[int32]bool{}
	for i := range s.Spec.Ports {
		used[s.Spec.Ports[i].NodePort] = true
	}
	byName, exact := map[string]int32{}, map[key]int32{}
	for _, p := range old.Spec.Ports {
		byName[p.Name] = p.NodePort
		exact[key{p.Name, p.Protocol, p.Port}] = p.NodePort
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.NodePort != 0 {
			continue
		}
		before, ok := exact[key{p.Name, p.Protocol, p.Port}]
		if !ok {
			before = byName[p.Name]
		}
		if before != 0 && !used[before] {
			p.NodePort = before
			used[before] = true
		}
	}
}

// dropForeign drops what belongs to the old type and not to the new one, unless the writer changed it.
func dropForeign(s, old *corev1.Service) {
	if needsClusterIP(old) && !needsClusterIP(s) && sameClusterIPs(s, old) {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = "", nil
		if slices.Equal(s.Spec.IPFamilies, old.Spec.IPFamilies) {
			s.Spec.IPFamilies, s.Spec.IPFamilyPolicy = nil, nil
		}
		s.Spec.InternalTrafficPolicy = nil
	}
	if needsNodePort(old) && !needsNodePort(s) && sameNodePorts(s, old) {
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].NodePort = 0
		}
	}
	if needsHealthPort(old) && !needsHealthPort(s) && s.Spec.HealthCheckNodePort == old.Spec.HealthCheckNodePort {
		s.Spec.HealthCheckNodePort = 0
	}
	if needsExternalPolicy(old) && !needsExternalPolicy(s) && s.Spec.ExternalTrafficPolicy == old.Spec.ExternalTrafficPolicy {
		s.Spec.ExternalTrafficPolicy = ""
	}
	if old.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		s.Spec.AllocateLoadBalancerNodePorts, s.Spec.LoadBalancerClass = nil, nil
	}
	if old.Spec.Type == corev1.ServiceTypeExternalName && s.Spec.Type != corev1.ServiceTypeExternalName && s.Spec.ExternalName == old.Spec.ExternalName {
		s.Spec.ExternalName = ""
	}
}
