package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
)

func replicationControllerWarnings(rc *corev1.ReplicationController) []string {
	if rc.Spec.Template == nil {
		return nil
	}
	return pod.TemplateWarnings(rc.Spec.Template, field.NewPath("spec", "template"))
}

// serviceWarnings tells of addresses that some programs read otherwise than others.
func serviceWarnings(s *corev1.Service) []string {
	path := field.NewPath("spec")
	var out []string
	for i, ip := range s.Spec.ClusterIPs {
		if ip != corev1.ClusterIPNone {
			out = append(out, utilvalidation.GetWarningsForIP(path.Child("clusterIPs").Index(i), ip)...)
		}
	}
	for i, ip := range s.Spec.ExternalIPs {
		out = append(out, utilvalidation.GetWarningsForIP(path.Child("externalIPs").Index(i), ip)...)
	}
	for i, cidr := range s.Spec.LoadBalancerSourceRanges {
		out = append(out, utilvalidation.GetWarningsForCIDR(path.Child("loadBalancerSourceRanges").Index(i), cidr)...)
	}
	if s.Spec.Type == corev1.ServiceTypeExternalName && s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		out = append(out, fmt.Sprintf("%s is ignored when service type is %q", path.Child("sessionAffinity"), s.Spec.Type))
	}
	return out
}
