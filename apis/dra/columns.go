package dra

import (
	"strings"

	resourcev1 "k8s.io/api/resource/v1"

	"coracle.dev/coracle/apis/resource"
)

var claimColumns = []resource.Column[*resourcev1.ResourceClaim]{
	resource.Name[*resourcev1.ResourceClaim](),
	resource.Text("State", func(c *resourcev1.ResourceClaim) any { return claimState(c) }),
	resource.Age[*resourcev1.ResourceClaim](),
}

func claimState(c *resourcev1.ResourceClaim) string {
	var states []string
	if c.DeletionTimestamp != nil {
		states = append(states, "deleted")
	}
	if c.Status.Allocation != nil {
		states = append(states, "allocated")
	} else if c.DeletionTimestamp == nil {
		states = append(states, "pending")
	}
	if len(c.Status.ReservedFor) > 0 {
		states = append(states, "reserved")
	}
	return strings.Join(states, ",")
}

var sliceColumns = []resource.Column[*resourcev1.ResourceSlice]{
	resource.Name[*resourcev1.ResourceSlice](),
	resource.Text("Node", func(s *resourcev1.ResourceSlice) any {
		return resource.Or(resource.Deref(s.Spec.NodeName), resource.Unset)
	}),
	resource.Text("Driver", func(s *resourcev1.ResourceSlice) any { return s.Spec.Driver }),
	resource.Text("Pool", func(s *resourcev1.ResourceSlice) any { return s.Spec.Pool.Name }),
	resource.Age[*resourcev1.ResourceSlice](),
}
