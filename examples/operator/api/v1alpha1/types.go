package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Website is a page that a few pods serve.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Replicas",type=integer,JSONPath=`.status.replicas`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Website struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec WebsiteSpec `json:"spec"`
	// +optional
	Status WebsiteStatus `json:"status,omitempty"`
}

// WebsiteSpec says what is served.
type WebsiteSpec struct {
	// page is the text of index.html.
	//
	// +kubebuilder:validation:MinLength=1
	// +required
	Page string `json:"page"`
	// replicas is how many pods serve it.
	//
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	// +kubebuilder:default=1
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`
	// image has a web server that serves the folder /www at port 8080.
	//
	// +kubebuilder:default="busybox:1.35"
	// +optional
	Image string `json:"image,omitempty"`
}

// WebsiteStatus says how far the website is.
type WebsiteStatus struct {
	// replicas is the number of pods that are ready.
	//
	// +optional
	Replicas int32 `json:"replicas,omitempty"`
	// conditions has Ready: whether as many pods serve the present page as are wanted.
	//
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// WebsiteList is a list of websites.
//
// +kubebuilder:object:root=true
type WebsiteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Website `json:"items"`
}
