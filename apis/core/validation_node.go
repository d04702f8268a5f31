package core

//lint:file-ignore SA1019 the API keeps fields that are deprecated

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

func validateNode(n *corev1.Node) field.ErrorList {
	path := field.NewPath("spec")
	errs := checkTaints(path.Child("taints"), n.Spec.Taints)
	errs = append(errs, checkNodeResources(field.NewPath("status"), &n.Status)...)
	cidrs := path.Child("podCIDRs")
	for i, cidr := range n.Spec.PodCIDRs {
		errs = append(errs, utilvalidation.IsValidCIDRForLegacyField(cidrs.Index(i), cidr, false, nil)...)
	}
	if len(n.Spec.PodCIDRs) > 2 || len(n.Spec.PodCIDRs) == 2 && isIPv6(n.Spec.PodCIDRs[0]) == isIPv6(n.Spec.PodCIDRs[1]) {
		errs = append(errs, field.Invalid(cidrs, n.Spec.PodCIDRs, "may specify no more than one CIDR for each IP family"))
	}
	return errs
}

func isIPv6(cidr string) bool {
	p, err := netip.ParsePrefix(cidr)
	return err == nil && p.Addr().Is6()
}

func checkTaints(path *field.Path, taints []corev1.Taint) field.ErrorList {
	seen := map[corev1.Taint]bool{}
	return resource.Each(path, taints, func(at *field.Path, t *corev1.Taint) field.ErrorList {
		errs := resource.QualifiedName(at.Child("key"), t.Key)
		errs = append(errs, resource.Messages(at.Child("value"), t.Value, utilvalidation.IsValidLabelValue(t.Value))...)
		errs = append(errs, pod.CheckTaintEffect(at.Child("effect"), t.Effect)...)
		key := corev1.Taint{Key: t.Key, Effect: t.Effect}
		if seen[key] {
			dup := field.Duplicate(at, *t)
			dup.Detail = "taints must be unique by key and effect pair"
			errs = append(errs, dup)
		}
		seen[key] = true
		return errs
	})
}

func checkNodeResources(path *field.Path, s *corev1.NodeStatus) field.ErrorList {
	var errs field.ErrorList
	for _, list := range []struct {
		name string
		list corev1.ResourceList
	}{{"capacity", s.Capacity}, {"allocatable", s.Allocatable}} {
		for _, n := range slices.Sorted(maps.Keys(list.list)) {
			errs = append(errs, pod.CheckQuantity(path.Child(list.name).Key(string(n)), n, list.list[n])...)
		}
	}
	return errs
}

// validateNodeUpdate: what a node is made with stays, taints and unschedulable aside. Its provider's
// name for it and its pod addresses may be filled in once.
func validateNodeUpdate(n, old *corev1.Node) field.ErrorList {
	errs := validateNode(n)
	rest := n.Spec.DeepCopy()
	path := field.NewPath("spec")
	if len(old.Spec.PodCIDRs) > 0 && !slices.Equal(old.Spec.PodCIDRs, n.Spec.PodCIDRs) {
		errs = append(errs, field.Forbidden(path.Child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid"))
	}
	if old.Spec.ProviderID != "" && old.Spec.ProviderID != n.Spec.ProviderID {
		errs = append(errs, field.Forbidden(path.Child("providerID"), "node updates may not change providerID except from \"\" to valid"))
	}
	rest.PodCIDR, rest.PodCIDRs, rest.ProviderID = old.Spec.PodCIDR, old.Spec.PodCIDRs, old.Spec.ProviderID
	rest.Taints, rest.Unschedulable, rest.ConfigSource = old.Spec.Taints, old.Spec.Unschedulable, old.Spec.ConfigSource
	if !equality.Semantic.DeepEqual(rest, &old.Spec) {
		errs = append(errs, field.Forbidden(field.NewPath(""), "node updates may only change labels, taints, or capacity (or configSource, if the DynamicKubeletConfig feature gate is enabled)"))
	}
	return errs
}

func validateNodeStatus(n, _ *corev1.Node) field.ErrorList {
	errs := checkNodeResources(field.NewPath("status"), &n.Status)
	addresses := map[corev1.NodeAddress]bool{}
	for i, a := range n.Status.Addresses {
		if addresses[a] {
			errs = append(errs, field.Duplicate(field.NewPath("status", "addresses").Index(i), fmt.Sprint(a)))
		}
		addresses[a] = true
	}
	return errs
}
