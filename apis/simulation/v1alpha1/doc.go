// Package v1alpha1 is the API group simulation.coracle.dev: simulated nodes as objects.
//
// It owns the Go types of the group; the custom resource definitions in config/crd are generated from them
// (make generate). The command 'coracle simulate nodes' follows the objects; see nodeagent/simulate for
// what simulated nodes do.
//
// +kubebuilder:object:generate=true
// +groupName=simulation.coracle.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of the types.
var GroupVersion = schema.GroupVersion{Group: "simulation.coracle.dev", Version: "v1alpha1"}

// AddToScheme makes the types known to a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &SimulatedNodePool{}, &SimulatedNodePoolList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
