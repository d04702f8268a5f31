// Package v2beta2 has the types of autoscaling/v2beta2, which Kubernetes served until v1.25 and k8s.io/api
// no longer has. Their shape is that of autoscaling/v2, in JSON and as protocol buffers.
//
// +k8s:openapi-gen=true
// +k8s:openapi-model-package=io.k8s.api.autoscaling.v2beta2
package v2beta2
