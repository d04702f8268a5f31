// Package networking declares the resources of networking.k8s.io: ingresses and their classes,
// network policies, service address ranges and the addresses taken from them.
package networking

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

var v1 = networkingv1.SchemeGroupVersion

// Resources lists the resources of the group, in discovery order.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{
		ingressClasses.Describe(), ingresses.Describe(), ipAddresses.Describe(),
		networkPolicies.Describe(), serviceCIDRs.Describe(),
	}
}

var ingressClasses = resource.Resource[*networkingv1.IngressClass]{
	Version: v1, Kind: "IngressClass", Plural: "ingressclasses", ClusterScoped: true,
	New:            func() *networkingv1.IngressClass { return &networkingv1.IngressClass{} },
	NewList:        func() runtime.Object { return &networkingv1.IngressClassList{} },
	Spec:           func(o *networkingv1.IngressClass) any { return &o.Spec },
	Default:        defaultIngressClass,
	Columns:        ingressClassColumns,
	Validate:       validateIngressClass,
	ValidateUpdate: validateIngressClassUpdate,
}

var ingresses = resource.Resource[*networkingv1.Ingress]{
	Version: v1, Kind: "Ingress", Plural: "ingresses", ShortNames: []string{"ing"},
	New:                  func() *networkingv1.Ingress { return &networkingv1.Ingress{} },
	NewList:              func() runtime.Object { return &networkingv1.IngressList{} },
	Spec:                 func(o *networkingv1.Ingress) any { return &o.Spec },
	Status:               func(o *networkingv1.Ingress) any { return &o.Status },
	Columns:              ingressColumns,
	Validate:             validateIngressCreate,
	ValidateUpdate:       validateIngressUpdate,
	ValidateStatusUpdate: validateIngressStatus,
}

var ipAddresses = resource.Resource[*networkingv1.IPAddress]{
	Version: v1, Kind: "IPAddress", Plural: "ipaddresses", ShortNames: []string{"ip"}, ClusterScoped: true,
	New:            func() *networkingv1.IPAddress { return &networkingv1.IPAddress{} },
	NewList:        func() runtime.Object { return &networkingv1.IPAddressList{} },
	Spec:           func(o *networkingv1.IPAddress) any { return &o.Spec },
	NoGeneration:   true,
	ValidateName:   nameIsAddress,
	Columns:        ipAddressColumns,
	Validate:       validateIPAddress,
	ValidateUpdate: validateIPAddressUpdate,
}

// nameIsAddress: an IPAddress is named by the address itself, in its one canonical spelling.
func nameIsAddress(name string, _ bool) []string {
	var msgs []string
	for _, e := range validation.IsValidIP(field.NewPath(""), name) {
		msgs = append(msgs, e.Detail)
	}
	return msgs
}

var networkPolicies = resource.Resource[*networkingv1.NetworkPolicy]{
	Version: v1, Kind: "NetworkPolicy", Plural: "networkpolicies", ShortNames: []string{"netpol"},
	New:            func() *networkingv1.NetworkPolicy { return &networkingv1.NetworkPolicy{} },
	NewList:        func() runtime.Object { return &networkingv1.NetworkPolicyList{} },
	Spec:           func(o *networkingv1.NetworkPolicy) any { return &o.Spec },
	Default:        defaultNetworkPolicy,
	Columns:        networkPolicyColumns,
	Validate:       validateNetworkPolicy,
	ValidateUpdate: validateNetworkPolicyUpdate,
}

var serviceCIDRs = resource.Resource[*networkingv1.ServiceCIDR]{
	Version: v1, Kind: "ServiceCIDR", Plural: "servicecidrs", ClusterScoped: true,
	New:            func() *networkingv1.ServiceCIDR { return &networkingv1.ServiceCIDR{} },
	NewList:        func() runtime.Object { return &networkingv1.ServiceCIDRList{} },
	Spec:           func(o *networkingv1.ServiceCIDR) any { return &o.Spec },
	Status:         func(o *networkingv1.ServiceCIDR) any { return &o.Status },
	NoGeneration:   true,
	Columns:        serviceCIDRColumns,
	Validate:       validateServiceCIDR,
	ValidateUpdate: validateServiceCIDRUpdate,
}
