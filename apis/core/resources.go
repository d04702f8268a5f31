package core

//lint:file-ignore SA1019 the API serves Endpoints, deprecated or not

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

var v1 = corev1.SchemeGroupVersion

// Resources lists the stored resources of the group, in discovery order.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{
		configMaps.Describe(), endpoints.Describe(), events.Describe(), limitRanges.Describe(),
		namespaces.Describe(), nodes.Describe(), persistentVolumeClaims.Describe(), persistentVolumes.Describe(),
		pods.Describe(), podTemplates.Describe(), replicationControllers.Describe(), resourceQuotas.Describe(),
		secrets.Describe(), serviceAccounts.Describe(), services.Describe(),
	}
}

var configMaps = resource.Resource[*corev1.ConfigMap]{
	Version: v1, Kind: "ConfigMap", Plural: "configmaps", ShortNames: []string{"cm"},
	New:            func() *corev1.ConfigMap { return &corev1.ConfigMap{} },
	NewList:        func() runtime.Object { return &corev1.ConfigMapList{} },
	Indexed:        "metadata.name",
	Columns:        configMapColumns,
	Validate:       validateConfigMap,
	ValidateUpdate: validateConfigMapUpdate,
}

var endpoints = resource.Resource[*corev1.Endpoints]{
	Version: v1, Kind: "Endpoints", Plural: "endpoints", ShortNames: []string{"ep"},
	New:                 func() *corev1.Endpoints { return &corev1.Endpoints{} },
	NewList:             func() runtime.Object { return &corev1.EndpointsList{} },
	AllowCreateOnUpdate: true,
	Default:             defaultEndpoints,
	Columns:             endpointsColumns,
	Validate:            validateEndpoints,
	ValidateUpdate:      validateEndpointsUpdate,
}

var events = resource.Resource[*corev1.Event]{
	Version: v1, Kind: "Event", Plural: "events", ShortNames: []string{"ev"},
	New:                 func() *corev1.Event { return &corev1.Event{} },
	NewList:             func() runtime.Object { return &corev1.EventList{} },
	Fields:              eventFields,
	FieldNames:          eventFieldNames,
	AllowCreateOnUpdate: true,
	Columns:             eventColumns,
	Validate:            validateEvent,
	ValidateUpdate:      validateEventUpdate,
}

var limitRanges = resource.Resource[*corev1.LimitRange]{
	Version: v1, Kind: "LimitRange", Plural: "limitranges", ShortNames: []string{"limits"},
	New:                 func() *corev1.LimitRange { return &corev1.LimitRange{} },
	NewList:             func() runtime.Object { return &corev1.LimitRangeList{} },
	AllowCreateOnUpdate: true,
	Default:             defaultLimitRange,
	Columns:             limitRangeColumns,
	Validate:            validateLimitRange,
	ValidateUpdate:      validateLimitRangeUpdate,
}

var namespaces = resource.Resource[*corev1.Namespace]{
	Version: v1, Kind: "Namespace", Plural: "namespaces", ShortNames: []string{"ns"}, ClusterScoped: true,
	New:                  func() *corev1.Namespace { return &corev1.Namespace{} },
	NewList:              func() runtime.Object { return &corev1.NamespaceList{} },
	Spec:                 func(o *corev1.Namespace) any { return &o.Spec },
	Status:               func(o *corev1.Namespace) any { return &o.Status },
	NoGeneration:         true,
	ValidateName:         validation.NameIsDNSLabel,
	Fields:               namespaceFields,
	FieldNames:           []string{"status.phase", "name"},
	Default:              defaultNamespace,
	PrepareForCreate:     prepareNamespace,
	PrepareForUpdate:     prepareNamespaceUpdate,
	Columns:              namespaceColumns,
	Validate:             validateNamespace,
	ValidateUpdate:       validateNamespaceUpdate,
	ValidateStatusUpdate: validateNamespaceStatus,
}

var nodes = resource.Resource[*corev1.Node]{
	Version: v1, Kind: "Node", Plural: "nodes", ShortNames: []string{"no"}, ClusterScoped: true,
	New:                  func() *corev1.Node { return &corev1.Node{} },
	NewList:              func() runtime.Object { return &corev1.NodeList{} },
	Spec:                 func(o *corev1.Node) any { return &o.Spec },
	Status:               func(o *corev1.Node) any { return &o.Status },
	NoGeneration:         true,
	Fields:               nodeFields,
	FieldNames:           []string{"spec.unschedulable"},
	Indexed:              "metadata.name",
	Default:              defaultNode,
	Columns:              nodeColumns,
	Validate:             validateNode,
	ValidateUpdate:       validateNodeUpdate,
	ValidateStatusUpdate: validateNodeStatus,
}

var persistentVolumeClaims = resource.Resource[*corev1.PersistentVolumeClaim]{
	Version: v1, Kind: "PersistentVolumeClaim", Plural: "persistentvolumeclaims", ShortNames: []string{"pvc"},
	New:                  func() *corev1.PersistentVolumeClaim { return &corev1.PersistentVolumeClaim{} },
	NewList:              func() runtime.Object { return &corev1.PersistentVolumeClaimList{} },
	Spec:                 func(o *corev1.PersistentVolumeClaim) any { return &o.Spec },
	Status:               func(o *corev1.PersistentVolumeClaim) any { return &o.Status },
	NoGeneration:         true,
	Default:              defaultPersistentVolumeClaim,
	PrepareForCreate:     prepareClaim,
	PrepareForUpdate:     func(c, _ *corev1.PersistentVolumeClaim) { prepareClaim(c) },
	Columns:              persistentVolumeClaimColumns,
	Validate:             validateClaim,
	ValidateUpdate:       validateClaimUpdate,
	ValidateStatusUpdate: validateClaimStatus,
}

var persistentVolumes = resource.Resource[*corev1.PersistentVolume]{
	Version: v1, Kind: "PersistentVolume", Plural: "persistentvolumes", ShortNames: []string{"pv"}, ClusterScoped: true,
	New:            func() *corev1.PersistentVolume { return &corev1.PersistentVolume{} },
	NewList:        func() runtime.Object { return &corev1.PersistentVolumeList{} },
	Spec:           func(o *corev1.PersistentVolume) any { return &o.Spec },
	Status:         func(o *corev1.PersistentVolume) any { return &o.Status },
	NoGeneration:   true,
	Default:        defaultPersistentVolume,
	Columns:        persistentVolumeColumns,
	Validate:       validateVolume,
	ValidateUpdate: validateVolumeUpdate,
}

var pods = resource.Resource[*corev1.Pod]{
	Version: v1, Kind: "Pod", Plural: "pods", ShortNames: []string{"po"}, Categories: []string{"all"},
	New:        func() *corev1.Pod { return &corev1.Pod{} },
	NewList:    func() runtime.Object { return &corev1.PodList{} },
	Spec:       func(o *corev1.Pod) any { return &o.Spec },
	Status:     func(o *corev1.Pod) any { return &o.Status },
	Fields:     podFields,
	FieldNames: podFieldNames,
	// spec.host is what v1beta3 called it; clients of that age still send it.
	FieldAliases:         map[string]string{"spec.host": "spec.nodeName"},
	Indexed:              "spec.nodeName",
	Default:              defaultPod,
	PrepareForCreate:     preparePod,
	PrepareForUpdate:     preparePodUpdate,
	Columns:              podColumns,
	Validate:             pod.Validate,
	ValidateUpdate:       pod.ValidateUpdate,
	ValidateStatusUpdate: pod.ValidateStatusUpdate,
	Warnings:             pod.Warnings,
}

var podTemplates = resource.Resource[*corev1.PodTemplate]{
	Version: v1, Kind: "PodTemplate", Plural: "podtemplates",
	New:            func() *corev1.PodTemplate { return &corev1.PodTemplate{} },
	NewList:        func() runtime.Object { return &corev1.PodTemplateList{} },
	Spec:           func(o *corev1.PodTemplate) any { return &o.Template },
	Default:        defaultPodTemplate,
	Columns:        podTemplateColumns,
	Validate:       validatePodTemplate,
	ValidateUpdate: validatePodTemplateUpdate,
	Warnings: func(t *corev1.PodTemplate) []string {
		return pod.TemplateWarnings(&t.Template, field.NewPath("template"))
	},
}

var replicationControllers = resource.Resource[*corev1.ReplicationController]{
	Version: v1, Kind: "ReplicationController", Plural: "replicationcontrollers", ShortNames: []string{"rc"}, Categories: []string{"all"},
	New:        func() *corev1.ReplicationController { return &corev1.ReplicationController{} },
	NewList:    func() runtime.Object { return &corev1.ReplicationControllerList{} },
	Spec:       func(o *corev1.ReplicationController) any { return &o.Spec },
	Status:     func(o *corev1.ReplicationController) any { return &o.Status },
	Fields:     replicationControllerFields,
	FieldNames: []string{"status.replicas"},
	Scale: &resource.Scale[*corev1.ReplicationController]{
		Replicas:       func(o *corev1.ReplicationController) int32 { return orZero(o.Spec.Replicas) },
		SetReplicas:    func(o *corev1.ReplicationController, n int32) { o.Spec.Replicas = &n },
		StatusReplicas: func(o *corev1.ReplicationController) int32 { return o.Status.Replicas },
		Selector: func(o *corev1.ReplicationController) string {
			return labels.Set(o.Spec.Selector).AsSelector().String()
		},
	},
	Default:              defaultReplicationController,
	Columns:              replicationControllerColumns,
	Validate:             validateReplicationController,
	ValidateUpdate:       validateReplicationControllerUpdate,
	ValidateStatusUpdate: validateReplicationControllerStatus,
	Warnings:             replicationControllerWarnings,
}

var resourceQuotas = resource.Resource[*corev1.ResourceQuota]{
	Version: v1, Kind: "ResourceQuota", Plural: "resourcequotas", ShortNames: []string{"quota"},
	New:                  func() *corev1.ResourceQuota { return &corev1.ResourceQuota{} },
	NewList:              func() runtime.Object { return &corev1.ResourceQuotaList{} },
	Spec:                 func(o *corev1.ResourceQuota) any { return &o.Spec },
	Status:               func(o *corev1.ResourceQuota) any { return &o.Status },
	NoGeneration:         true,
	Default:              defaultResourceQuota,
	Columns:              resourceQuotaColumns,
	Validate:             validateResourceQuota,
	ValidateUpdate:       validateResourceQuotaUpdate,
	ValidateStatusUpdate: validateResourceQuotaStatus,
}

var secrets = resource.Resource[*corev1.Secret]{
	Version: v1, Kind: "Secret", Plural: "secrets",
	New:            func() *corev1.Secret { return &corev1.Secret{} },
	NewList:        func() runtime.Object { return &corev1.SecretList{} },
	Fields:         secretFields,
	FieldNames:     []string{"type"},
	Indexed:        "metadata.name",
	Default:        defaultSecret,
	Columns:        secretColumns,
	Validate:       validateSecret,
	ValidateUpdate: validateSecretUpdate,
}

var serviceAccounts = resource.Resource[*corev1.ServiceAccount]{
	Version: v1, Kind: "ServiceAccount", Plural: "serviceaccounts", ShortNames: []string{"sa"},
	New:     func() *corev1.ServiceAccount { return &corev1.ServiceAccount{} },
	NewList: func() runtime.Object { return &corev1.ServiceAccountList{} },
	Columns: serviceAccountColumns,
}

var services = resource.Resource[*corev1.Service]{
	Version: v1, Kind: "Service", Plural: "services", ShortNames: []string{"svc"}, Categories: []string{"all"},
	New:                  func() *corev1.Service { return &corev1.Service{} },
	NewList:              func() runtime.Object { return &corev1.ServiceList{} },
	Spec:                 func(o *corev1.Service) any { return &o.Spec },
	Status:               func(o *corev1.Service) any { return &o.Status },
	NoGeneration:         true,
	ValidateName:         validation.NameIsDNS1035Label,
	Fields:               serviceFields,
	FieldNames:           []string{"spec.clusterIP", "spec.type"},
	AllowCreateOnUpdate:  true,
	Default:              defaultService,
	PrepareForUpdate:     releaseBalancer,
	Columns:              serviceColumns,
	Validate:             validateService,
	ValidateUpdate:       validateServiceUpdate,
	ValidateStatusUpdate: validateServiceStatusUpdate,
	Warnings:             serviceWarnings,
}
