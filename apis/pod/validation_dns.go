package pod

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// The limits of resolv.conf.
const (
	maxNameservers  = 3
	maxSearchPaths  = 32
	maxSearchLength = 2048
)

func checkDNS(path *field.Path, s *corev1.PodSpec) field.ErrorList {
	errs := resource.OneOf(path.Child("dnsPolicy"), s.DNSPolicy,
		corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)
	errs = append(errs, checkHostAliases(path.Child("hostAliases"), s.HostAliases)...)
	config, path := s.DNSConfig, path.Child("dnsConfig")
	if s.DNSPolicy == corev1.DNSNone {
		if config == nil {
			return append(errs, field.Required(path, fmt.Sprintf("must provide `dnsConfig` when `dnsPolicy` is %s", corev1.DNSNone)))
		}
		if len(config.Nameservers) == 0 {
			return append(errs, field.Required(path.Child("nameservers"), fmt.Sprintf("must provide at least one DNS nameserver when `dnsPolicy` is %s", corev1.DNSNone)))
		}
	}
	if config == nil {
		return errs
	}
	if len(config.Nameservers) > maxNameservers {
		errs = append(errs, field.Invalid(path.Child("nameservers"), config.Nameservers, fmt.Sprintf("must not have more than %v nameservers", maxNameservers)))
	}
	for i, ns := range config.Nameservers {
		errs = append(errs, utilvalidation.IsValidIPForLegacyField(path.Child("nameservers").Index(i), ns, false, nil)...)
	}
	if len(config.Searches) > maxSearchPaths {
		errs = append(errs, field.Invalid(path.Child("searches"), config.Searches, fmt.Sprintf("must not have more than %v search paths", maxSearchPaths)))
	}
	if len(strings.Join(config.Searches, " ")) > maxSearchLength {
		errs = append(errs, field.Invalid(path.Child("searches"), config.Searches, fmt.Sprintf("must not have more than %v characters (including spaces) in the search list", maxSearchLength)))
	}
	for i, search := range config.Searches {
		// A lone dot is the root, and names may have underscores, as resolvers allow.
		if search != "." {
			errs = append(errs, resource.Messages(path.Child("searches").Index(i), search,
				utilvalidation.IsDNS1123SubdomainWithUnderscore(strings.TrimSuffix(search, ".")))...)
		}
	}
	for i, o := range config.Options {
		if o.Name == "" {
			errs = append(errs, field.Required(path.Child("options").Index(i), "must not be empty"))
		}
	}
	return errs
}

func checkHostAliases(path *field.Path, aliases []corev1.HostAlias) field.ErrorList {
	return resource.Each(path, aliases, func(at *field.Path, a *corev1.HostAlias) field.ErrorList {
		errs := utilvalidation.IsValidIPForLegacyField(at.Child("ip"), a.IP, false, nil)
		for _, name := range a.Hostnames {
			errs = append(errs, resource.DNSSubdomain(at.Child("hostnames"), name)...)
		}
		return errs
	})
}
