package proxy

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/nodeagent/internal/netnstest"
)

func TestMain(m *testing.M) { netnstest.Main(m) }

var testConfig = Config{
	ClusterName: "test", NodeName: "here", NodeIPs: []netip.Addr{netip.MustParseAddr("192.0.2.2")},
	ClusterCIDR: netip.MustParsePrefix("10.244.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
}

// service makes a Service with an address; ports are added by the changes.
func service(name, ip string, changes ...func(*corev1.Service)) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: ip, ClusterIPs: []string{ip}},
	}
	for _, change := range changes {
		change(svc)
	}
	return svc
}

func port(name string, protocol corev1.Protocol, number, nodePort int32) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: name, Protocol: protocol, Port: number, NodePort: nodePort})
	}
}

func slice(service string, endpoints []discoveryv1.Endpoint, ports ...discoveryv1.EndpointPort) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "ns", Name: service + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints, Ports: ports,
	}
}

func slicePortOf(name string, protocol corev1.Protocol, number int32) discoveryv1.EndpointPort {
	return discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: &number}
}

// at makes endpoints on a node, ready ones unless changed.
func at(node string, ips ...string) []discoveryv1.Endpoint {
	var all []discoveryv1.Endpoint
	for _, ip := range ips {
		all = append(all, discoveryv1.Endpoint{Addresses: []string{ip}, NodeName: &node})
	}
	return all
}

func conditions(ready, serving, terminating bool, ips ...string) []discoveryv1.Endpoint {
	all := at("here", ips...)
	for i := range all {
		all[i].Conditions = discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating}
	}
	return all
}
