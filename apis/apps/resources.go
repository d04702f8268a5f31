// Package apps declares the resources of the apps group: deployments, replica sets, stateful sets,
// daemon sets and controller revisions.
//
// Defaults, validation and columns are those of Kubernetes v1.37.
package apps

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

var v1 = appsv1.SchemeGroupVersion

// Resources lists the resources of the group, in discovery order.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{
		controllerRevisions.Describe(), daemonSets.Describe(), deployments.Describe(),
		replicaSets.Describe(), statefulSets.Describe(),
	}
}

var controllerRevisions = resource.Resource[*appsv1.ControllerRevision]{
	Version: v1, Kind: "ControllerRevision", Plural: "controllerrevisions",
	New:            func() *appsv1.ControllerRevision { return &appsv1.ControllerRevision{} },
	NewList:        func() runtime.Object { return &appsv1.ControllerRevisionList{} },
	Columns:        controllerRevisionColumns,
	Validate:       validateControllerRevision,
	ValidateUpdate: validateControllerRevisionUpdate,
}

var daemonSets = resource.Resource[*appsv1.DaemonSet]{
	Version: v1, Kind: "DaemonSet", Plural: "daemonsets", ShortNames: []string{"ds"}, Categories: []string{"all"},
	New:                  func() *appsv1.DaemonSet { return &appsv1.DaemonSet{} },
	NewList:              func() runtime.Object { return &appsv1.DaemonSetList{} },
	Spec:                 func(o *appsv1.DaemonSet) any { return &o.Spec },
	Status:               func(o *appsv1.DaemonSet) any { return &o.Status },
	Default:              defaultDaemonSet,
	PrepareForCreate:     prepareDaemonSet,
	PrepareForUpdate:     prepareDaemonSetUpdate,
	Columns:              daemonSetColumns,
	Validate:             validateDaemonSet,
	ValidateUpdate:       validateDaemonSetUpdate,
	ValidateStatusUpdate: validateDaemonSetStatus,
	Warnings: func(o *appsv1.DaemonSet) []string {
		return pod.TemplateWarnings(&o.Spec.Template, field.NewPath("spec", "template"))
	},
}

var deployments = resource.Resource[*appsv1.Deployment]{
	Version: v1, Kind: "Deployment", Plural: "deployments", ShortNames: []string{"deploy"}, Categories: []string{"all"},
	New:     func() *appsv1.Deployment { return &appsv1.Deployment{} },
	NewList: func() runtime.Object { return &appsv1.DeploymentList{} },
	Spec:    func(o *appsv1.Deployment) any { return &o.Spec },
	Status:  func(o *appsv1.Deployment) any { return &o.Status },
	Scale: &resource.Scale[*appsv1.Deployment]{
		Replicas:       func(o *appsv1.Deployment) int32 { return orZero(o.Spec.Replicas) },
		SetReplicas:    func(o *appsv1.Deployment, n int32) { o.Spec.Replicas = &n },
		StatusReplicas: func(o *appsv1.Deployment) int32 { return o.Status.Replicas },
		Selector:       func(o *appsv1.Deployment) string { return selectorText(o.Spec.Selector) },
	},
	Default:              defaultDeployment,
	Columns:              deploymentColumns,
	Validate:             validateDeployment,
	ValidateUpdate:       validateDeploymentUpdate,
	ValidateStatusUpdate: validateDeploymentStatus,
	Warnings: func(o *appsv1.Deployment) []string {
		return pod.TemplateWarnings(&o.Spec.Template, field.NewPath("spec", "template"))
	},
}

var replicaSets = resource.Resource[*appsv1.ReplicaSet]{
	Version: v1, Kind: "ReplicaSet", Plural: "replicasets", ShortNames: []string{"rs"}, Categories: []string{"all"},
	New:     func() *appsv1.ReplicaSet { return &appsv1.ReplicaSet{} },
	NewList: func() runtime.Object { return &appsv1.ReplicaSetList{} },
	Spec:    func(o *appsv1.ReplicaSet) any { return &o.Spec },
	Status:  func(o *appsv1.ReplicaSet) any { return &o.Status },
	Fields: func(o *appsv1.ReplicaSet) fields.Set {
		return fields.Set{"status.replicas": strconv.Itoa(int(o.Status.Replicas))}
	},
	FieldNames: []string{"status.replicas"},
	Scale: &resource.Scale[*appsv1.ReplicaSet]{
		Replicas:       func(o *appsv1.ReplicaSet) int32 { return orZero(o.Spec.Replicas) },
		SetReplicas:    func(o *appsv1.ReplicaSet, n int32) { o.Spec.Replicas = &n },
		StatusReplicas: func(o *appsv1.ReplicaSet) int32 { return o.Status.Replicas },
		Selector:       func(o *appsv1.ReplicaSet) string { return selectorText(o.Spec.Selector) },
	},
	Default:              defaultReplicaSet,
	Columns:              replicaSetColumns,
	Validate:             validateReplicaSet,
	ValidateUpdate:       validateReplicaSetUpdate,
	ValidateStatusUpdate: validateReplicaSetStatus,
	Warnings: func(o *appsv1.ReplicaSet) []string {
		return pod.TemplateWarnings(&o.Spec.Template, field.NewPath("spec", "template"))
	},
}

var statefulSets = resource.Resource[*appsv1.StatefulSet]{
	Version: v1, Kind: "StatefulSet", Plural: "statefulsets", ShortNames: []string{"sts"}, Categories: []string{"all"},
	New:     func() *appsv1.StatefulSet { return &appsv1.StatefulSet{} },
	NewList: func() runtime.Object { return &appsv1.StatefulSetList{} },
	Spec:    func(o *appsv1.StatefulSet) any { return &o.Spec },
	Status:  func(o *appsv1.StatefulSet) any { return &o.Status },
	Scale: &resource.Scale[*appsv1.StatefulSet]{
		Replicas:       func(o *appsv1.StatefulSet) int32 { return orZero(o.Spec.Replicas) },
		SetReplicas:    func(o *appsv1.StatefulSet, n int32) { o.Spec.Replicas = &n },
		StatusReplicas: func(o *appsv1.StatefulSet) int32 { return o.Status.Replicas },
		Selector:       func(o *appsv1.StatefulSet) string { return selectorText(o.Spec.Selector) },
	},
	Default:              defaultStatefulSet,
	Columns:              statefulSetColumns,
	Validate:             validateStatefulSetCreate,
	ValidateUpdate:       validateStatefulSetUpdate,
	ValidateStatusUpdate: validateStatefulSetStatus,
	Warnings: func(o *appsv1.StatefulSet) []string {
		return pod.TemplateWarnings(&o.Spec.Template, field.NewPath("spec", "template"))
	},
}

func orZero(p *int32) int32 {
	if p == nil {
		return 0
	}
	return *p
}

// selectorText is the string form of a selector; a malformed one, which validation keeps out, shows
// as the empty text.
func selectorText(s *metav1.LabelSelector) string {
	sel, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return ""
	}
	return sel.String()
}
