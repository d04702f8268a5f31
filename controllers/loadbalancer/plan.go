package loadbalancer

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Class is the load balancer class by which a Service can choose this
// controller. It serves those without a class as well.
const Class = "coracle.dev/pool"

// Finalizer keeps a Service until its addresses are given back.
const Finalizer = "service.kubernetes.io/load-balancer-cleanup"

// wants tells whether a Service is to have addresses of this controller.
func wants(s *corev1.Service) bool {
	return s.DeletionTimestamp == nil && s.Spec.Type == corev1.ServiceTypeLoadBalancer && (s.Spec.LoadBalancerClass == nil || *s.Spec.LoadBalancerClass == Class)
}

// addresses are those that a Service has.
func addresses(s *corev1.Service) (out []netip.Addr) {
	for _, in := range s.Status.LoadBalancer.Ingress {
		if ip, err := netip.ParseAddr(in.IP); err == nil {
			out = append(out, ip)
		}
	}
	return out
}

// assign chooses the addresses of a Service: those that it has, as far as it may
// keep them, and free ones. taken are others'.
func assign(s *corev1.Service, pools []netip.Prefix, taken map[netip.Addr]bool) ([]netip.Addr, error) {
	pooled := func(ip netip.Addr) bool {
		return slices.ContainsFunc(pools, func(p netip.Prefix) bool { return usable(p, ip) })
	}
	if wish := s.Spec.LoadBalancerIP; wish != "" {
		ip, err := netip.ParseAddr(wish)
		switch {
		case err != nil:
			return nil, fmt.Errorf("reading the address that is asked for: %w", err)
		case !pooled(ip):
			return nil, fmt.Errorf("address %s is in no pool", ip)
		case taken[ip]:
			return nil, fmt.Errorf("address %s is another service's", ip)
		}
		return []netip.Addr{ip}, nil
	}
	var out []netip.Addr
	for _, family := range families(s) {
		ip, found := pick(family, addresses(s), pooled, pools, taken)
		if found {
			out = append(out, ip)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no address is free in pools %v", pools)
	}
	return out, nil
}

func pick(family corev1.IPFamily, has []netip.Addr, pooled func(netip.Addr) bool, pools []netip.Prefix, taken map[netip.Addr]bool) (netip.Addr, bool) {
	of := func(ip netip.Addr) bool { return ip.Is4() == (family == corev1.IPv4Protocol) }
	for _, ip := range has {
		if of(ip) && pooled(ip) && !taken[ip] {
			return ip, true
		}
	}
	for _, p := range pools {
		if !of(p.Addr()) {
			continue
		}
		for ip := p.Masked().Addr(); p.Contains(ip); ip = ip.Next() {
			if usable(p, ip) && !taken[ip] {
				return ip, true
			}
		}
	}
	return netip.Addr{}, false
}

func families(s *corev1.Service) []corev1.IPFamily {
	if len(s.Spec.IPFamilies) == 0 {
		return []corev1.IPFamily{corev1.IPv4Protocol}
	}
	return s.Spec.IPFamilies
}

// usable tells whether a pool has an address. The first and the last of an IPv4
// range are not used, since they mean the network and everybody in it.
func usable(p netip.Prefix, ip netip.Addr) bool {
	if !p.Contains(ip) {
		return false
	}
	if !ip.Is4() || p.Bits() > 30 {
		return true
	}
	return ip != p.Masked().Addr() && p.Contains(ip.Next())
}

// status is that of a Service with the given addresses.
func status(s *corev1.Service, ips []netip.Addr) corev1.LoadBalancerStatus {
	var out corev1.LoadBalancerStatus
	for _, ip := range ips {
		in := corev1.LoadBalancerIngress{IP: ip.String(), IPMode: new(corev1.LoadBalancerIPModeVIP)}
		for _, has := range s.Status.LoadBalancer.Ingress {
			if has.IP == in.IP {
				in = has // with what others have added
			}
		}
		out.Ingress = append(out.Ingress, in)
	}
	return out
}
