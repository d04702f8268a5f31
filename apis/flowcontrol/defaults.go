package flowcontrol

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"

	"coracle.dev/coracle/apis/resource"
)

const (
	matchingPrecedence int32 = 1000
	concurrencyShares  int32 = 30
)

func defaultFlowSchema(f *flowcontrolv1.FlowSchema) {
	resource.SetDefault(&f.Spec.MatchingPrecedence, matchingPrecedence)
}

func defaultPriorityLevel(p *flowcontrolv1.PriorityLevelConfiguration) {
	if p.Spec.Type == flowcontrolv1.PriorityLevelEnablementExempt {
		resource.SetPointer(&p.Spec.Exempt, flowcontrolv1.ExemptPriorityLevelConfiguration{})
	}
	if e := p.Spec.Exempt; e != nil {
		resource.SetPointer(&e.NominalConcurrencyShares, 0)
		resource.SetPointer(&e.LendablePercent, 0)
	}
	if l := p.Spec.Limited; l != nil {
		resource.SetPointer(&l.NominalConcurrencyShares, concurrencyShares)
		resource.SetPointer(&l.LendablePercent, 0)
		if q := l.LimitResponse.Queuing; q != nil {
			resource.SetDefault(&q.Queues, 64)
			resource.SetDefault(&q.HandSize, 8)
			resource.SetDefault(&q.QueueLengthLimit, 50)
		}
	}
}
