package spec

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Limits of glibc's resolver and of Kubernetes.
const (
	maxNameservers  = 3
	maxSearches     = 32
	maxSearchLength = 2048
)

// Resolver is what a resolv.conf says.
type Resolver struct {
	Servers, Searches, Options []string
}

// ParseResolver reads a resolv.conf. The last search line counts, as for the
// resolver library; options of several lines add up.
func ParseResolver(text string) Resolver {
	var r Resolver
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") || strings.HasPrefix(fields[0], ";") {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if len(fields) > 1 {
				r.Servers = append(r.Servers, fields[1])
			}
		case "search", "domain":
			r.Searches = nil
			for _, s := range fields[1:] {
				if s != "." {
					s = strings.TrimSuffix(s, ".")
				}
				r.Searches = append(r.Searches, s)
			}
		case "options":
			r.Options = append(r.Options, fields[1:]...)
		}
	}
	return r
}

// DNSInput is what a pod's resolver configuration is made from.
type DNSInput struct {
	Host          Resolver
	ClusterDNS    []string
	ClusterDomain string
}

// DNS computes the pod's resolver configuration by its dnsPolicy and
// dnsConfig.
func DNS(pod *corev1.Pod, in DNSInput) *runtimev1.DNSConfig {
	var r Resolver
	switch effectiveDNSPolicy(pod) {
	case corev1.DNSNone:
	case corev1.DNSDefault:
		r = in.Host
		if len(r.Servers) == 0 {
			r.Servers = []string{"127.0.0.1"}
		}
	default:
		r = clusterResolver(pod.Namespace, in)
	}
	if c := pod.Spec.DNSConfig; c != nil {
		r.Servers = distinct(append(slices.Clone(r.Servers), c.Nameservers...))
		r.Searches = distinct(append(slices.Clone(r.Searches), c.Searches...))
		r.Options = mergeOptions(r.Options, c.Options)
	}
	return &runtimev1.DNSConfig{
		Servers:  limit(r.Servers, maxNameservers),
		Searches: limitSearches(r.Searches),
		Options:  r.Options,
	}
}

func effectiveDNSPolicy(pod *corev1.Pod) corev1.DNSPolicy {
	switch pod.Spec.DNSPolicy {
	case corev1.DNSNone, corev1.DNSDefault:
		return pod.Spec.DNSPolicy
	case corev1.DNSClusterFirstWithHostNet:
		return corev1.DNSClusterFirst
	}
	if pod.Spec.HostNetwork {
		return corev1.DNSDefault
	}
	return corev1.DNSClusterFirst
}

func clusterResolver(namespace string, in DNSInput) Resolver {
	if len(in.ClusterDNS) == 0 {
		return in.Host
	}
	r := Resolver{Servers: in.ClusterDNS, Options: []string{"ndots:5"}}
	if in.ClusterDomain != "" {
		r.Searches = []string{namespace + ".svc." + in.ClusterDomain, "svc." + in.ClusterDomain, in.ClusterDomain}
	}
	r.Searches = distinct(append(r.Searches, in.Host.Searches...))
	return r
}

func mergeOptions(base []string, add []corev1.PodDNSConfigOption) []string {
	names := map[string]bool{}
	for _, o := range add {
		names[o.Name] = true
	}
	var out []string
	for _, o := range base {
		if name, _, _ := strings.Cut(o, ":"); !names[name] {
			out = append(out, o)
		}
	}
	for _, o := range add {
		if o.Value != nil && *o.Value != "" {
			out = append(out, o.Name+":"+*o.Value)
		} else {
			out = append(out, o.Name)
		}
	}
	return out
}

func distinct(in []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(in, func(s string) bool {
		was := seen[s]
		seen[s] = true
		return was
	})
}

func limit(in []string, n int) []string {
	if len(in) > n {
		return in[:n]
	}
	return in
}

func limitSearches(in []string) []string {
	in = limit(in, maxSearches)
	for len(strings.Join(in, " ")) > maxSearchLength {
		in = in[:len(in)-1]
	}
	return in
}
