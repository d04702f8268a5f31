package service

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// setFamilies fills in ipFamilyPolicy and ipFamilies. configured are the cluster's families, the default
// one first.
func setFamilies(s *corev1.Service, configured []corev1.IPFamily) field.ErrorList {
	if !needsClusterIP(s) {
		return nil
	}
	spec := &s.Spec
	path := field.NewPath("spec")
	if isHeadless(s) && len(spec.Selector) == 0 {
		setFamiliesOfBare(spec, configured[0])
		return nil
	}
	errs := familiesOfAddresses(spec, path)
	dual := spec.IPFamilyPolicy != nil && *spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack
	if len(configured) == 1 && spec.IPFamilyPolicy != nil && *spec.IPFamilyPolicy == corev1.IPFamilyPolicyRequireDualStack {
		errs = append(errs, field.Invalid(path.Child("ipFamilyPolicy"), *spec.IPFamilyPolicy, "this cluster is not configured for dual-stack services"))
	}
	if len(spec.IPFamilies) == 2 && !dual {
		if spec.IPFamilyPolicy != nil {
			errs = append(errs, field.Invalid(path.Child("ipFamilyPolicy"), *spec.IPFamilyPolicy, "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"))
		} else {
			errs = append(errs, field.Required(path.Child("ipFamilyPolicy"), "must be specified when multiple IP families are specified"))
		}
	}
	for i, f := range spec.IPFamilies {
		// A service that merely prefers two families is content with the one there is.
		if !slices.Contains(configured, f) && !(i == 1 && dual) {
			errs = append(errs, field.Invalid(path.Child("ipFamilies").Index(i), f, "not configured on this cluster"))
		}
	}
	if len(errs) > 0 {
		return errs
	}
	if spec.IPFamilyPolicy == nil {
		policy := corev1.IPFamilyPolicySingleStack
		spec.IPFamilyPolicy = &policy
	}
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []corev1.IPFamily{configured[0]}
	}
	if dual && len(spec.IPFamilies) == 1 && len(configured) == 2 {
		spec.IPFamilies = append(spec.IPFamilies, other(spec.IPFamilies[0]))
	}
	return nil
}

// setFamiliesOfBare: a headless service without a selector has whatever endpoints its owner gives it, of
// either family, whether the cluster has it or not.
func setFamiliesOfBare(spec *corev1.ServiceSpec, byDefault corev1.IPFamily) {
	if spec.IPFamilyPolicy == nil {
		policy := corev1.IPFamilyPolicyRequireDualStack
		if len(spec.IPFamilies) == 1 {
			policy = corev1.IPFamilyPolicySingleStack
		}
		spec.IPFamilyPolicy = &policy
	}
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []corev1.IPFamily{byDefault}
	}
	if len(spec.IPFamilies) == 1 && *spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack {
		spec.IPFamilies = append(spec.IPFamilies, other(spec.IPFamilies[0]))
	}
}

// familiesOfAddresses derives the families from addresses that the writer chose.
func familiesOfAddresses(spec *corev1.ServiceSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, text := range spec.ClusterIPs {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			continue // "None", or for validation to refuse
		}
		f := familyOf(ip)
		switch {
		case i == len(spec.IPFamilies) && i < 2:
			spec.IPFamilies = append(spec.IPFamilies, f)
		case i < len(spec.IPFamilies) && spec.IPFamilies[i] != f:
			errs = append(errs, field.Invalid(path.Child("clusterIPs").Index(i), text,
				fmt.Sprintf("expected an %s value as indicated by `ipFamilies[%d]`", spec.IPFamilies[i], i)))
		}
	}
	return errs
}

func familyOf(ip netip.Addr) corev1.IPFamily {
	if ip.Is4() || ip.Is4In6() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

func other(f corev1.IPFamily) corev1.IPFamily {
	if f == corev1.IPv4Protocol {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}
