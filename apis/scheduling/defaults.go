package scheduling

import (
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"

	"coracle.dev/coracle/apis/resource"
)

func defaultPriorityClass(c *schedulingv1.PriorityClass) {
	resource.SetPointer(&c.PreemptionPolicy, corev1.PreemptLowerPriority)
}
