package endpointslicemirroring

import (
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	endpointsliceutil "k8s.io/endpointslice/util"
)

const (
	managerName = "endpointslicemirroring-controller.k8s.io"
	perSlice    = 1000

	// leaderAnnotation marks Endpoints that are a lock.
	leaderAnnotation = "control-plane.alpha.kubernetes.io/leader"
)

// actions are what is to be done to the slices.
type actions struct {
	create, update, remove []*discoveryv1.EndpointSlice
}

// mirrored tells whether Endpoints are to be mirrored.
func mirrored(ep *corev1.Endpoints, svc *corev1.Service) bool {
	_, lock := ep.Annotations[leaderAnnotation]
	return !lock && ep.Labels[discoveryv1.LabelSkipMirror] != "true" && ep.DeletionTimestamp == nil &&
		svc != nil && svc.Spec.Selector == nil
}

// plan turns the existing slices into a copy of the Endpoints, reusing slices
// of the same family and ports.
func plan(ep *corev1.Endpoints, existing []*discoveryv1.EndpointSlice) actions {
	var a actions
	unused := slices.Clone(existing)
	for _, want := range copies(ep) {
		i := slices.IndexFunc(unused, func(s *discoveryv1.EndpointSlice) bool { return alike(s, want) })
		if i < 0 {
			a.create = append(a.create, want)
			continue
		}
		have := unused[i]
		unused = slices.Delete(unused, i, i+1)
		next := have.DeepCopy()
		next.Labels, next.Annotations, next.OwnerReferences = want.Labels, want.Annotations, want.OwnerReferences
		next.Endpoints, next.Ports = want.Endpoints, want.Ports
		if !apiequality.Semantic.DeepEqual(have, next) {
			a.update = append(a.update, next)
		}
	}
	a.remove = unused
	return a
}

// alike tells whether one slice can become the other by an update.
func alike(a, b *discoveryv1.EndpointSlice) bool {
	return a.AddressType == b.AddressType &&
		endpointsliceutil.NewPortMapKey(a.Ports) == endpointsliceutil.NewPortMapKey(b.Ports)
}

// group is the endpoints of one family and with the same ports.
type group struct {
	family    discoveryv1.AddressType
	ports     []discoveryv1.EndpointPort
	endpoints []discoveryv1.Endpoint
}

// copies are the slices that show what the Endpoints do.
func copies(ep *corev1.Endpoints) []*discoveryv1.EndpointSlice {
	var groups []*group
	for _, s := range ep.Subsets {
		ports := endpointPorts(s.Ports)
		for _, a := range s.Addresses {
			groups = place(groups, ports, a, true)
		}
		for _, a := range s.NotReadyAddresses {
			groups = place(groups, ports, a, false)
		}
	}
	var out []*discoveryv1.EndpointSlice
	for _, g := range groups {
		for chunk := range slices.Chunk(g.endpoints, perSlice) {
			s := newSlice(ep)
			s.AddressType, s.Ports, s.Endpoints = g.family, g.ports, chunk
			out = append(out, s)
		}
	}
	return out
}

func place(groups []*group, ports []discoveryv1.EndpointPort, a corev1.EndpointAddress, ready bool) []*group {
	ip, err := netip.ParseAddr(a.IP)
	if err != nil {
		return groups
	}
	family := discoveryv1.AddressTypeIPv4
	if ip.Is6() {
		family = discoveryv1.AddressTypeIPv6
	}
	key := endpointsliceutil.NewPortMapKey(ports)
	i := slices.IndexFunc(groups, func(g *group) bool {
		return g.family == family && endpointsliceutil.NewPortMapKey(g.ports) == key
	})
	if i < 0 {
		groups, i = append(groups, &group{family: family, ports: ports}), len(groups)
	}
	groups[i].endpoints = append(groups[i].endpoints, endpoint(a, ready))
	return groups
}

func endpoint(a corev1.EndpointAddress, ready bool) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{
		Addresses:  []string{a.IP},
		Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		TargetRef:  a.TargetRef.DeepCopy(),
		NodeName:   a.NodeName,
	}
	if a.Hostname != "" {
		e.Hostname = &a.Hostname
	}
	return e
}

func endpointPorts(ports []corev1.EndpointPort) []discoveryv1.EndpointPort {
	out := []discoveryv1.EndpointPort{}
	for _, p := range ports {
		out = append(out, discoveryv1.EndpointPort{
			Name: &p.Name, Port: &p.Port, Protocol: &p.Protocol, AppProtocol: p.AppProtocol,
		})
	}
	return out
}

// newSlice is an empty slice with the Endpoints' labels and annotations, less
// those that say something of the Endpoints themselves.
func newSlice(ep *corev1.Endpoints) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace:       ep.Namespace,
		GenerateName:    ep.Name + "-",
		Labels:          maps.Clone(ep.Labels),
		Annotations:     maps.Clone(ep.Annotations),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ep, corev1.SchemeGroupVersion.WithKind("Endpoints"))},
	}}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	s.Labels[discoveryv1.LabelServiceName] = ep.Name
	s.Labels[discoveryv1.LabelManagedBy] = managerName
	delete(s.Annotations, corev1.LastAppliedConfigAnnotation)
	delete(s.Annotations, corev1.EndpointsLastChangeTriggerTime)
	return s
}
