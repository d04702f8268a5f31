package flowcontrol

import (
	"fmt"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"

	"coracle.dev/coracle/apis/resource"
)

type (
	schema = *flowcontrolv1.FlowSchema
	level  = *flowcontrolv1.PriorityLevelConfiguration
)

var flowSchemaColumns = []resource.Column[schema]{
	resource.Name[schema](),
	resource.Text("PriorityLevel", func(f schema) any { return f.Spec.PriorityLevelConfiguration.Name }),
	resource.Number("MatchingPrecedence", func(f schema) int32 { return f.Spec.MatchingPrecedence }),
	resource.Text("DistinguisherMethod", func(f schema) any {
		if m := f.Spec.DistinguisherMethod; m != nil {
			return string(m.Type)
		}
		return resource.None
	}),
	resource.Age[schema](),
	resource.Text("MissingPL", func(f schema) any {
		for _, c := range f.Status.Conditions {
			if c.Type == flowcontrolv1.FlowSchemaConditionDangling {
				return string(c.Status)
			}
		}
		return "?"
	}),
}

var priorityLevelColumns = []resource.Column[level]{
	resource.Name[level](),
	resource.Text("Type", func(p level) any { return string(p.Spec.Type) }),
	resource.Text("NominalConcurrencyShares", func(p level) any {
		switch {
		case p.Spec.Limited != nil && p.Spec.Limited.NominalConcurrencyShares != nil:
			return fmt.Sprint(*p.Spec.Limited.NominalConcurrencyShares)
		case p.Spec.Exempt != nil && p.Spec.Exempt.NominalConcurrencyShares != nil:
			return fmt.Sprint(*p.Spec.Exempt.NominalConcurrencyShares)
		}
		return resource.None
	}),
	queuing("Queues", func(q *flowcontrolv1.QueuingConfiguration) int32 { return q.Queues }),
	queuing("HandSize", func(q *flowcontrolv1.QueuingConfiguration) int32 { return q.HandSize }),
	queuing("QueueLengthLimit", func(q *flowcontrolv1.QueuingConfiguration) int32 { return q.QueueLengthLimit }),
	resource.Age[level](),
}

func queuing(name string, f func(*flowcontrolv1.QueuingConfiguration) int32) resource.Column[level] {
	return resource.Text(name, func(p level) any {
		if p.Spec.Limited == nil || p.Spec.Limited.LimitResponse.Queuing == nil {
			return resource.None
		}
		return fmt.Sprint(f(p.Spec.Limited.LimitResponse.Queuing))
	})
}
