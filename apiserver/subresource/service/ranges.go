package service

import (
	"net/netip"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	networkingv1listers "k8s.io/client-go/listers/networking/v1"
)

// Ranges are those that ServiceCIDR objects allow addresses to be taken of: not when one is being
// deleted, nor while its condition says that it is not ready. One without the condition counts, so that
// no controller is needed.
func Ranges(lister networkingv1listers.ServiceCIDRLister) func() []netip.Prefix {
	return func() []netip.Prefix {
		all, err := lister.List(labels.Everything())
		if err != nil {
			return nil // a lister of a cache has none
		}
		var out []netip.Prefix
		for _, s := range all {
			ready := meta.FindStatusCondition(s.Status.Conditions, networkingv1.ServiceCIDRConditionReady)
			if s.DeletionTimestamp != nil || ready != nil && ready.Status != "True" {
				continue
			}
			for _, text := range s.Spec.CIDRs {
				if cidr, err := netip.ParsePrefix(text); err == nil {
					out = append(out, cidr.Masked())
				}
			}
		}
		return out
	}
}
