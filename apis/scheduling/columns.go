package scheduling

import (
	schedulingv1 "k8s.io/api/scheduling/v1"

	"coracle.dev/coracle/apis/resource"
)

var priorityClassColumns = []resource.Column[*schedulingv1.PriorityClass]{
	resource.Name[*schedulingv1.PriorityClass](),
	resource.Number("Value", func(c *schedulingv1.PriorityClass) int32 { return c.Value }),
	resource.Flag("Global-Default", func(c *schedulingv1.PriorityClass) bool { return c.GlobalDefault }),
	resource.Age[*schedulingv1.PriorityClass](),
	resource.Text("PreemptionPolicy", func(c *schedulingv1.PriorityClass) any { return string(resource.Deref(c.PreemptionPolicy)) }),
}
