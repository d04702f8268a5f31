package loadbalancer

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestAssign(t *testing.T) {
	small, more, six := netip.MustParsePrefix("10.1.0.0/30"), netip.MustParsePrefix("10.2.0.8/31"), netip.MustParsePrefix("fd00::/126")
	with := func(change func(*corev1.Service), has ...string) *corev1.Service {
		s := &corev1.Service{Spec: corev1.ServiceSpec{IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}}}
		for _, ip := range has {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
		}
		if change != nil {
			change(s)
		}
		return s
	}
	asks := func(ip string) func(*corev1.Service) { return func(s *corev1.Service) { s.Spec.LoadBalancerIP = ip } }
	dual := func(s *corev1.Service) {
		s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}
	}
	for name, tc := range map[string]struct {
		service *corev1.Service
		pools   []netip.Prefix
		taken   []string
		want    string
		err     string
	}{
		"the first that is free":           {service: with(nil), pools: []netip.Prefix{small}, want: "10.1.0.1"},
		"the next":                         {service: with(nil), pools: []netip.Prefix{small}, taken: []string{"10.1.0.1"}, want: "10.1.0.2"},
		"never the last of a range":        {service: with(nil), pools: []netip.Prefix{small}, taken: []string{"10.1.0.1", "10.1.0.2"}, err: "no address is free"},
		"of the next pool":                 {service: with(nil), pools: []netip.Prefix{small, more}, taken: []string{"10.1.0.1", "10.1.0.2"}, want: "10.2.0.8"},
		"both of a range of two":           {service: with(nil), pools: []netip.Prefix{more}, taken: []string{"10.2.0.8"}, want: "10.2.0.9"},
		"the one that it has":              {service: with(nil, "10.1.0.2"), pools: []netip.Prefix{small}, want: "10.1.0.2"},
		"not one that is out of all pools": {service: with(nil, "10.9.0.2"), pools: []netip.Prefix{small}, want: "10.1.0.1"},
		"not one that another has too":     {service: with(nil, "10.1.0.1"), pools: []netip.Prefix{small}, taken: []string{"10.1.0.1"}, want: "10.1.0.2"},
		"the one that it asks for":         {service: with(asks("10.1.0.2"), "10.1.0.1"), pools: []netip.Prefix{small}, want: "10.1.0.2"},
		"asks for another's":               {service: with(asks("10.1.0.2")), pools: []netip.Prefix{small}, taken: []string{"10.1.0.2"}, err: "another service's"},
		"asks for one that is nowhere":     {service: with(asks("10.9.0.2")), pools: []netip.Prefix{small}, err: "in no pool"},
		"one of each family":               {service: with(dual), pools: []netip.Prefix{small, six}, want: "fd00:: 10.1.0.1"},
		"of the family that has a pool":    {service: with(dual), pools: []netip.Prefix{small}, want: "10.1.0.1"},
		"no pools":                         {service: with(nil), err: "no address is free"},
	} {
		taken := map[netip.Addr]bool{}
		for _, ip := range tc.taken {
			taken[netip.MustParseAddr(ip)] = true
		}
		ips, err := assign(tc.service, tc.pools, taken)
		var got []string
		for _, ip := range ips {
			got = append(got, ip.String())
		}
		if strings.Join(got, " ") != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestStatusKeepsWhatOthersAdded(t *testing.T) {
	port := corev1.LoadBalancerIngress{IP: "10.1.0.1", IPMode: new(corev1.LoadBalancerIPModeProxy), Ports: []corev1.PortStatus{{Port: 80}}}
	s := &corev1.Service{}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{port}
	got := status(s, []netip.Addr{netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2")})
	if len(got.Ingress) != 2 || !slices.Equal(got.Ingress[0].Ports, port.Ports) || *got.Ingress[1].IPMode != corev1.LoadBalancerIPModeVIP {
		t.Errorf("got %+v", got)
	}
}
