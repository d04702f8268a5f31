package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SimulatedNodePool is a number of nodes that are alike and have no machines. Its nodes are named NAME-0
// and so on; kubectl scale changes how many there are.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.count,statuspath=.status.count
// +kubebuilder:resource:scope=Cluster,shortName=simpool
// +kubebuilder:printcolumn:name="Desired",type=integer,JSONPath=`.spec.count`
// +kubebuilder:printcolumn:name="Current",type=integer,JSONPath=`.status.count`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SimulatedNodePool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec SimulatedNodePoolSpec `json:"spec"`
	// +optional
	Status SimulatedNodePoolStatus `json:"status,omitempty"`
}

// SimulatedNodePoolSpec says how many nodes there are and what they are like. Nodes that exist keep the
// capacity, labels and taints with which they were made.
type SimulatedNodePoolSpec struct {
	// count is the number of nodes.
	//
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16384
	// +kubebuilder:default=1
	// +optional
	Count int32 `json:"count"`
	// cpu of each node.
	//
	// +kubebuilder:default="32"
	// +optional
	CPU string `json:"cpu,omitempty"`
	// memory of each node.
	//
	// +kubebuilder:default="256Gi"
	// +optional
	Memory string `json:"memory,omitempty"`
	// pods is how many pods a node takes.
	//
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=250
	// +kubebuilder:default=110
	// +optional
	Pods int64 `json:"pods,omitempty"`
	// labels of each node.
	//
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// taints of each node.
	//
	// +optional
	// +listType=atomic
	Taints []corev1.Taint `json:"taints,omitempty"`
	// zones are given to the nodes in turn, by the label topology.kubernetes.io/zone.
	//
	// +optional
	// +listType=atomic
	Zones []string `json:"zones,omitempty"`
	// pace is what the nodes' pods do unless their annotations say otherwise.
	//
	// +optional
	Pace Pace `json:"pace,omitempty"`
}

// Pace says how long the steps of a pod's life take.
type Pace struct {
	// startAfter is how long a container takes to start.
	//
	// +optional
	StartAfter metav1.Duration `json:"startAfter,omitempty"`
	// readyAfter is how long it takes from its start to be ready.
	//
	// +optional
	ReadyAfter metav1.Duration `json:"readyAfter,omitempty"`
	// finishAfter is when containers of a Job's pods end, 100ms if unset; others run until they are stopped.
	//
	// +optional
	FinishAfter metav1.Duration `json:"finishAfter,omitempty"`
	// stopAfter is how long it takes to end after the pod was deleted, at most its grace period.
	//
	// +optional
	StopAfter metav1.Duration `json:"stopAfter,omitempty"`
}

// SimulatedNodePoolStatus says how many nodes there are.
type SimulatedNodePoolStatus struct {
	// count is the number of nodes that are registered.
	//
	// +optional
	Count int32 `json:"count,omitempty"`
	// observedGeneration is the generation of the spec that this is about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// message says what is wrong with the spec, if anything is.
	//
	// +optional
	Message string `json:"message,omitempty"`
}

// SimulatedNodePoolList is a list of pools.
//
// +kubebuilder:object:root=true
type SimulatedNodePoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []SimulatedNodePool `json:"items"`
}
