package v2beta2

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// SchemeGroupVersion is autoscaling/v2beta2.
var SchemeGroupVersion = schema.GroupVersion{Group: autoscalingv2.GroupName, Version: "v2beta2"}

// AddToScheme registers the types.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(SchemeGroupVersion, &HorizontalPodAutoscaler{}, &HorizontalPodAutoscalerList{})
	metav1.AddToGroupVersion(s, SchemeGroupVersion)
	return nil
}

// HorizontalPodAutoscaler is the configuration for a horizontal pod autoscaler, which automatically
// manages the replica count of any resource implementing the scale subresource based on the metrics
// specified.
type HorizontalPodAutoscaler struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the specification for the behaviour of the autoscaler.
	// +optional
	Spec autoscalingv2.HorizontalPodAutoscalerSpec `json:"spec,omitempty"`
	// status is the current information about the autoscaler.
	// +optional
	Status autoscalingv2.HorizontalPodAutoscalerStatus `json:"status,omitempty"`
}

// HorizontalPodAutoscalerList is a list of horizontal pod autoscaler objects.
type HorizontalPodAutoscalerList struct {
	metav1.TypeMeta `json:",inline"`
	// Standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items is the list of horizontal pod autoscaler objects.
	Items []HorizontalPodAutoscaler `json:"items"`
}

// Deprecation, in the form in which the generated code of k8s.io/api tells the API server. Kubernetes
// deprecated the version in v1.23 and removed it in v1.26.

// APILifecycleDeprecated is the release that deprecated the type.
func (*HorizontalPodAutoscaler) APILifecycleDeprecated() (major, minor int) { return 1, 23 }

// APILifecycleReplacement is the type to use.
func (*HorizontalPodAutoscaler) APILifecycleReplacement() schema.GroupVersionKind {
	return autoscalingv2.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler")
}

// APILifecycleRemoved is the release that removed the type.
func (*HorizontalPodAutoscaler) APILifecycleRemoved() (major, minor int) { return 1, 26 }

// OpenAPIModelName is the name by which Kubernetes' documents know the type.
func (HorizontalPodAutoscaler) OpenAPIModelName() string {
	return "io.k8s.api.autoscaling.v2beta2.HorizontalPodAutoscaler"
}

// OpenAPIModelName is the name by which Kubernetes' documents know the type.
func (HorizontalPodAutoscalerList) OpenAPIModelName() string {
	return "io.k8s.api.autoscaling.v2beta2.HorizontalPodAutoscalerList"
}
