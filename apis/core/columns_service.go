package core

//lint:file-ignore SA1019 the API serves Endpoints, deprecated or not

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"coracle.dev/coracle/apis/resource"
)

var serviceColumns = []resource.Column[*corev1.Service]{
	resource.Name[*corev1.Service](),
	resource.Text("Type", func(s *corev1.Service) any { return string(s.Spec.Type) }),
	resource.Text("Cluster-IP", func(s *corev1.Service) any {
		if len(s.Spec.ClusterIPs) > 0 {
			return s.Spec.ClusterIPs[0]
		}
		return resource.None
	}),
	resource.Text("External-IP", func(s *corev1.Service) any { return externalAddress(s) }),
	resource.Text("Port(s)", func(s *corev1.Service) any { return servicePorts(s.Spec.Ports) }),
	resource.Age[*corev1.Service](),
	resource.Text("Selector", func(s *corev1.Service) any { return labels.FormatLabels(s.Spec.Selector) }).Wide(),
}

func externalAddress(s *corev1.Service) string {
	external := strings.Join(s.Spec.ExternalIPs, ",")
	switch s.Spec.Type {
	case corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort:
		return resource.OrNone(external)
	case corev1.ServiceTypeExternalName:
		return s.Spec.ExternalName
	case corev1.ServiceTypeLoadBalancer:
		balancer := balancerAddresses(s.Status.LoadBalancer.Ingress)
		if external != "" {
			return strings.TrimPrefix(balancer+","+external, ",")
		}
		return resource.Or(balancer, "<pending>")
	}
	return resource.Unknown
}

func balancerAddresses(ingress []corev1.LoadBalancerIngress) string {
	var out []string
	for _, i := range ingress {
		if a := resource.Or(i.IP, i.Hostname); a != "" {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ",")
}

func servicePorts(ports []corev1.ServicePort) string {
	pieces := make([]string, len(ports))
	for i, p := range ports {
		pieces[i] = fmt.Sprintf("%d/%s", p.Port, p.Protocol)
		if p.NodePort > 0 {
			pieces[i] = fmt.Sprintf("%d:%d/%s", p.Port, p.NodePort, p.Protocol)
		}
	}
	return resource.OrNone(strings.Join(pieces, ","))
}

var endpointsColumns = []resource.Column[*corev1.Endpoints]{
	resource.Name[*corev1.Endpoints](),
	resource.Text("Endpoints", func(e *corev1.Endpoints) any { return endpointAddresses(e) }),
	resource.Age[*corev1.Endpoints](),
}

func endpointAddresses(e *corev1.Endpoints) string {
	var out []string
	for _, set := range e.Subsets {
		for _, port := range set.Ports {
			for _, a := range set.Addresses {
				out = append(out, net.JoinHostPort(a.IP, strconv.Itoa(int(port.Port))))
			}
		}
		if len(set.Ports) == 0 {
			for _, a := range set.Addresses {
				out = append(out, a.IP)
			}
		}
	}
	return resource.OrNone(resource.Shorten(out, 3, ","))
}
