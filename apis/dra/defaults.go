package dra

import (
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/apis/resource"
)

func defaultClaim(c *resourcev1.ResourceClaim) { defaultRequests(c.Spec.Devices.Requests) }

func defaultClaimTemplate(t *resourcev1.ResourceClaimTemplate) {
	defaultRequests(t.Spec.Spec.Devices.Requests)
}

func defaultRequests(requests []resourcev1.DeviceRequest) {
	for i := range requests {
		if e := requests[i].Exactly; e != nil {
			defaultAllocation(&e.AllocationMode, &e.Count, e.Tolerations)
		}
		for j := range requests[i].FirstAvailable {
			sub := &requests[i].FirstAvailable[j]
			defaultAllocation(&sub.AllocationMode, &sub.Count, sub.Tolerations)
		}
	}
}

func defaultAllocation(mode *resourcev1.DeviceAllocationMode, count *int64, tolerations []resourcev1.DeviceToleration) {
	resource.SetDefault(mode, resourcev1.DeviceAllocationModeExactCount)
	if *mode == resourcev1.DeviceAllocationModeExactCount {
		resource.SetDefault(count, 1)
	}
	for i := range tolerations {
		resource.SetDefault(&tolerations[i].Operator, resourcev1.DeviceTolerationOpEqual)
	}
}

// defaultSlice notes when a taint was first seen. It is the one default that depends on the time.
func defaultSlice(s *resourcev1.ResourceSlice) {
	for i := range s.Spec.Devices {
		taints := s.Spec.Devices[i].Taints
		for j := range taints {
			if taints[j].TimeAdded == nil {
				now := metav1.Now().Rfc3339Copy()
				taints[j].TimeAdded = &now
			}
		}
	}
}
