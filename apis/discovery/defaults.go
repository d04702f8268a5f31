package discovery

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"coracle.dev/coracle/apis/resource"
)

func defaultEndpointSlice(s *discoveryv1.EndpointSlice) {
	for i := range s.Ports {
		resource.SetPointer(&s.Ports[i].Name, "")
		resource.SetPointer(&s.Ports[i].Protocol, corev1.ProtocolTCP)
	}
}

// raiseGeneration counts changes of anything but metadata, labels aside: a slice has no spec.
func raiseGeneration(s, old *discoveryv1.EndpointSlice) {
	if s.AddressType != old.AddressType || !equality.Semantic.DeepEqual(s.Endpoints, old.Endpoints) ||
		!equality.Semantic.DeepEqual(s.Ports, old.Ports) || !equality.Semantic.DeepEqual(s.Labels, old.Labels) {
		s.Generation = old.Generation + 1
	}
}
