// Package flowcontrol declares the resources by which the API server shares its capacity out among
// requests: flow schemas and priority levels.
package flowcontrol

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"coracle.dev/coracle/apis/resource"
)

var v1 = flowcontrolv1.SchemeGroupVersion

// Resources lists the resources of the group, in discovery order.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{flowSchemas.Describe(), priorityLevels.Describe()}
}

var flowSchemas = resource.Resource[*flowcontrolv1.FlowSchema]{
	Version: v1, Kind: "FlowSchema", Plural: "flowschemas", ClusterScoped: true,
	New:                    func() *flowcontrolv1.FlowSchema { return &flowcontrolv1.FlowSchema{} },
	NewList:                func() runtime.Object { return &flowcontrolv1.FlowSchemaList{} },
	Spec:                   func(o *flowcontrolv1.FlowSchema) any { return &o.Spec },
	Status:                 func(o *flowcontrolv1.FlowSchema) any { return &o.Status },
	RequireResourceVersion: true,
	Default:                defaultFlowSchema,
	Columns:                flowSchemaColumns,
	Validate:               validateFlowSchema,
	ValidateUpdate:         validateFlowSchemaUpdate,
}

var priorityLevels = resource.Resource[*flowcontrolv1.PriorityLevelConfiguration]{
	Version: v1, Kind: "PriorityLevelConfiguration", Plural: "prioritylevelconfigurations", ClusterScoped: true,
	New: func() *flowcontrolv1.PriorityLevelConfiguration {
		return &flowcontrolv1.PriorityLevelConfiguration{}
	},
	NewList:                func() runtime.Object { return &flowcontrolv1.PriorityLevelConfigurationList{} },
	Spec:                   func(o *flowcontrolv1.PriorityLevelConfiguration) any { return &o.Spec },
	Status:                 func(o *flowcontrolv1.PriorityLevelConfiguration) any { return &o.Status },
	RequireResourceVersion: true,
	Default:                defaultPriorityLevel,
	Columns:                priorityLevelColumns,
	Validate:               validatePriorityLevel,
	ValidateUpdate:         validatePriorityLevelUpdate,
}
