// Package admissionregistration declares the resources that extend admission: webhook configurations
// and CEL policies with their bindings.
//
// CEL expressions are compiled by the API server's admission plugins, not here.
package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"coracle.dev/coracle/apis/resource"
)

var (
	v1         = admissionv1.SchemeGroupVersion
	categories = []string{"api-extensions"}
)

// Resources lists the resources of the group, in discovery order.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{
		mutatingPolicies.Describe(), mutatingPolicyBindings.Describe(), mutatingWebhooks.Describe(),
		validatingPolicies.Describe(), validatingPolicyBindings.Describe(), validatingWebhooks.Describe(),
	}
}

var mutatingPolicies = resource.Resource[*admissionv1.MutatingAdmissionPolicy]{
	Version: v1, Kind: "MutatingAdmissionPolicy", Plural: "mutatingadmissionpolicies", ClusterScoped: true, Categories: categories,
	New:                    func() *admissionv1.MutatingAdmissionPolicy { return &admissionv1.MutatingAdmissionPolicy{} },
	NewList:                func() runtime.Object { return &admissionv1.MutatingAdmissionPolicyList{} },
	Spec:                   func(o *admissionv1.MutatingAdmissionPolicy) any { return &o.Spec },
	RequireResourceVersion: true,
	Default:                defaultMutatingPolicy,
	Columns:                mutatingPolicyColumns,
	Validate:               validateMutatingPolicy,
	ValidateUpdate:         validateMutatingPolicyUpdate,
}

var mutatingPolicyBindings = resource.Resource[*admissionv1.MutatingAdmissionPolicyBinding]{
	Version: v1, Kind: "MutatingAdmissionPolicyBinding", Plural: "mutatingadmissionpolicybindings", ClusterScoped: true, Categories: categories,
	New: func() *admissionv1.MutatingAdmissionPolicyBinding {
		return &admissionv1.MutatingAdmissionPolicyBinding{}
	},
	NewList:                func() runtime.Object { return &admissionv1.MutatingAdmissionPolicyBindingList{} },
	Spec:                   func(o *admissionv1.MutatingAdmissionPolicyBinding) any { return &o.Spec },
	RequireResourceVersion: true,
	Default:                defaultMutatingPolicyBinding,
	Columns:                mutatingBindingColumns,
	Validate:               validateMutatingPolicyBinding,
	ValidateUpdate:         validateMutatingPolicyBindingUpdate,
}

var mutatingWebhooks = resource.Resource[*admissionv1.MutatingWebhookConfiguration]{
	Version: v1, Kind: "MutatingWebhookConfiguration", Plural: "mutatingwebhookconfigurations", ClusterScoped: true, Categories: categories,
	New: func() *admissionv1.MutatingWebhookConfiguration {
		return &admissionv1.MutatingWebhookConfiguration{}
	},
	NewList:                func() runtime.Object { return &admissionv1.MutatingWebhookConfigurationList{} },
	Spec:                   func(o *admissionv1.MutatingWebhookConfiguration) any { return &o.Webhooks },
	RequireResourceVersion: true,
	Default:                defaultMutatingWebhooks,
	Columns:                mutatingWebhookColumns,
	Validate:               validateMutatingWebhooks,
	ValidateUpdate:         validateMutatingWebhooksUpdate,
}

var validatingPolicies = resource.Resource[*admissionv1.ValidatingAdmissionPolicy]{
	Version: v1, Kind: "ValidatingAdmissionPolicy", Plural: "validatingadmissionpolicies", ClusterScoped: true, Categories: categories,
	New:                    func() *admissionv1.ValidatingAdmissionPolicy { return &admissionv1.ValidatingAdmissionPolicy{} },
	NewList:                func() runtime.Object { return &admissionv1.ValidatingAdmissionPolicyList{} },
	Spec:                   func(o *admissionv1.ValidatingAdmissionPolicy) any { return &o.Spec },
	Status:                 func(o *admissionv1.ValidatingAdmissionPolicy) any { return &o.Status },
	RequireResourceVersion: true,
	Default:                defaultValidatingPolicy,
	Columns:                validatingPolicyColumns,
	Validate:               validateValidatingPolicy,
	ValidateUpdate:         validateValidatingPolicyUpdate,
}

var validatingPolicyBindings = resource.Resource[*admissionv1.ValidatingAdmissionPolicyBinding]{
	Version: v1, Kind: "ValidatingAdmissionPolicyBinding", Plural: "validatingadmissionpolicybindings", ClusterScoped: true, Categories: categories,
	New: func() *admissionv1.ValidatingAdmissionPolicyBinding {
		return &admissionv1.ValidatingAdmissionPolicyBinding{}
	},
	NewList:                func() runtime.Object { return &admissionv1.ValidatingAdmissionPolicyBindingList{} },
	Spec:                   func(o *admissionv1.ValidatingAdmissionPolicyBinding) any { return &o.Spec },
	RequireResourceVersion: true,
	Default:                defaultValidatingPolicyBinding,
	Columns:                validatingBindingColumns,
	Validate:               validateValidatingPolicyBinding,
	ValidateUpdate:         validateValidatingPolicyBindingUpdate,
}

var validatingWebhooks = resource.Resource[*admissionv1.ValidatingWebhookConfiguration]{
	Version: v1, Kind: "ValidatingWebhookConfiguration", Plural: "validatingwebhookconfigurations", ClusterScoped: true, Categories: categories,
	New: func() *admissionv1.ValidatingWebhookConfiguration {
		return &admissionv1.ValidatingWebhookConfiguration{}
	},
	NewList:                func() runtime.Object { return &admissionv1.ValidatingWebhookConfigurationList{} },
	Spec:                   func(o *admissionv1.ValidatingWebhookConfiguration) any { return &o.Webhooks },
	RequireResourceVersion: true,
	Default:                defaultValidatingWebhooks,
	Columns:                validatingWebhookColumns,
	Validate:               validateValidatingWebhooks,
	ValidateUpdate:         validateValidatingWebhooksUpdate,
}
