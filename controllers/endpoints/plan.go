package endpoints

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/endpointslice"
	endpointsliceutil "k8s.io/endpointslice/util"
	"k8s.io/utils/net"

	"coracle.dev/coracle/controllers/internal/podstatus"
)

const (
	// maxAddresses is the most addresses that an Endpoints object holds.
	maxAddresses = 1000

	managedByLabel = "endpoints.kubernetes.io/managed-by"
	managerName    = "endpoint-controller"
	truncated      = "truncated"
)

// plan returns the Endpoints as they are to be, and whether that differs from
// the present ones, which are nil if there are none. trigger is the time of the
// change that led here, formatted, or empty.
func plan(svc *corev1.Service, pods []*corev1.Pod, present *corev1.Endpoints, trigger string) (*corev1.Endpoints, bool) {
	want := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name}}
	if present != nil {
		want = present.DeepCopy()
	}
	var left bool
	want.Subsets, left = limit(subsets(svc, pods), maxAddresses)
	want.Labels = objectLabels(svc)
	if want.Annotations == nil {
		want.Annotations = map[string]string{}
	}
	if left {
		want.Annotations[corev1.EndpointsOverCapacity] = truncated
	} else {
		delete(want.Annotations, corev1.EndpointsOverCapacity)
	}
	if present != nil && apiequality.Semantic.DeepEqual(want, present) {
		return want, false
	}
	if trigger != "" {
		want.Annotations[corev1.EndpointsLastChangeTriggerTime] = trigger
	} else {
		delete(want.Annotations, corev1.EndpointsLastChangeTriggerTime)
	}
	return want, true
}

func objectLabels(svc *corev1.Service) map[string]string {
	l := maps.Clone(svc.Labels)
	if l == nil {
		l = map[string]string{}
	}
	l[managedByLabel] = managerName
	if svc.Spec.ClusterIP == corev1.ClusterIPNone {
		l[corev1.IsHeadlessService] = ""
	} else {
		delete(l, corev1.IsHeadlessService)
	}
	return l
}

// subsets groups the addresses of the pods by the ports they have.
func subsets(svc *corev1.Service, pods []*corev1.Pod) []corev1.EndpointSubset {
	groups := map[string]*corev1.EndpointSubset{}
	for _, p := range pods {
		if !endpointsliceutil.ShouldPodBeInEndpoints(p, svc.Spec.PublishNotReadyAddresses) {
			continue
		}
		address, ok := address(svc, p)
		if !ok {
			continue
		}
		ports, ok := ports(svc, p)
		if !ok {
			continue
		}
		key := portsKey(ports)
		g := groups[key]
		if g == nil {
			g = &corev1.EndpointSubset{Ports: ports}
			groups[key] = g
		}
		if svc.Spec.PublishNotReadyAddresses || podstatus.Ready(p) {
			g.Addresses = append(g.Addresses, address)
		} else {
			g.NotReadyAddresses = append(g.NotReadyAddresses, address)
		}
	}
	var out []corev1.EndpointSubset
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		g := groups[key]
		slices.SortFunc(g.Addresses, compareAddresses)
		slices.SortFunc(g.NotReadyAddresses, compareAddresses)
		out = append(out, *g)
	}
	return out
}

// ports are the pod's ports by the names and numbers that the service gives.
// The pod has no part in the service if it has none of them, unless the service
// has none itself.
func ports(svc *corev1.Service, p *corev1.Pod) ([]corev1.EndpointPort, bool) {
	if len(svc.Spec.Ports) == 0 {
		return nil, svc.Spec.ClusterIP == corev1.ClusterIPNone
	}
	var ports []corev1.EndpointPort
	for i := range svc.Spec.Ports {
		sp := &svc.Spec.Ports[i]
		n, err := endpointslice.FindPort(p, sp)
		if err != nil {
			continue // the pod has no port of that name
		}
		ports = append(ports, corev1.EndpointPort{Name: sp.Name, Port: int32(n), Protocol: sp.Protocol, AppProtocol: sp.AppProtocol})
	}
	slices.SortFunc(ports, func(a, b corev1.EndpointPort) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	})
	return ports, len(ports) > 0
}

func portsKey(ports []corev1.EndpointPort) string {
	var b strings.Builder
	for _, p := range ports {
		app := ""
		if p.AppProtocol != nil {
			app = *p.AppProtocol
		}
		fmt.Fprintf(&b, "%s/%d/%s/%s,", p.Name, p.Port, p.Protocol, app)
	}
	return b.String()
}

// address is the pod's address of the service's first family.
func address(svc *corev1.Service, p *corev1.Pod) (corev1.EndpointAddress, bool) {
	ips := p.Status.PodIPs
	if len(ips) == 0 {
		ips = []corev1.PodIP{{IP: p.Status.PodIP}}
	}
	want6 := wantsIPv6(svc, ips[0].IP)
	i := slices.IndexFunc(ips, func(ip corev1.PodIP) bool { return net.IsIPv6String(ip.IP) == want6 })
	if i < 0 {
		return corev1.EndpointAddress{}, false
	}
	a := corev1.EndpointAddress{
		IP:        ips[i].IP,
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID},
	}
	if p.Spec.NodeName != "" {
		a.NodeName = new(p.Spec.NodeName)
	}
	if endpointsliceutil.ShouldSetHostname(p, svc) {
		a.Hostname = p.Spec.Hostname
	}
	return a, true
}

func wantsIPv6(svc *corev1.Service, podIP string) bool {
	switch {
	case len(svc.Spec.IPFamilies) > 0:
		return svc.Spec.IPFamilies[0] == corev1.IPv6Protocol
	case svc.Spec.ClusterIP != "" && svc.Spec.ClusterIP != corev1.ClusterIPNone:
		return net.IsIPv6String(svc.Spec.ClusterIP)
	default:
		return net.IsIPv6String(podIP)
	}
}

func compareAddresses(a, b corev1.EndpointAddress) int {
	x, _ := netip.ParseAddr(a.IP)
	y, _ := netip.ParseAddr(b.IP)
	return cmp.Or(x.Compare(y), cmp.Compare(a.TargetRef.UID, b.TargetRef.UID))
}

// limit keeps the first n addresses, the ready ones before the others, and
// tells whether any were left out.
func limit(subsets []corev1.EndpointSubset, n int) ([]corev1.EndpointSubset, bool) {
	left := false
	cut := func(addresses []corev1.EndpointAddress) []corev1.EndpointAddress {
		if len(addresses) > n {
			addresses, left = addresses[:n], true
		}
		n -= len(addresses)
		if len(addresses) == 0 {
			return nil
		}
		return addresses
	}
	for i := range subsets {
		subsets[i].Addresses = cut(subsets[i].Addresses)
	}
	for i := range subsets {
		subsets[i].NotReadyAddresses = cut(subsets[i].NotReadyAddresses)
	}
	return slices.DeleteFunc(subsets, func(s corev1.EndpointSubset) bool {
		return len(s.Addresses)+len(s.NotReadyAddresses) == 0
	}), left
}
