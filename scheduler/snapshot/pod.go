package snapshot

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// HostPort is a port of the node that a pod takes for itself.
type HostPort struct {
	IP       string // "0.0.0.0" for all addresses
	Protocol corev1.Protocol
	Port     int32
}

// Conflicts tells whether two pods cannot have these ports on one node.
func (p HostPort) Conflicts(o HostPort) bool {
	return p.Port == o.Port && p.Protocol == o.Protocol && (p.IP == o.IP || p.IP == "0.0.0.0" || o.IP == "0.0.0.0")
}

// Term is a parsed term of a pod's affinity or anti-affinity.
type Term struct {
	Selector          labels.Selector
	Namespaces        []string // sorted
	NamespaceSelector labels.Selector
	TopologyKey       string
	Weight            int64 // of preferred terms
}

// Pod is a pod with what decisions need of it worked out.
type Pod struct {
	*corev1.Pod
	Requests Resources
	ForScore Resources // Requests, with an assumption for containers that ask for nothing
	Ports    []HostPort
	Priority int32
	Claims   []string // namespace/name of the claims that it uses

	RequiredAffinity, RequiredAntiAffinity   []Term
	PreferredAffinity, PreferredAntiAffinity []Term
}

// NewPod works out a pod. It keeps the object, which must not change from here on.
func NewPod(p *corev1.Pod) *Pod {
	pod := &Pod{Pod: p, Requests: podRequests(p), ForScore: podRequestsForScore(p), Ports: hostPorts(p), Claims: claims(p)}
	if p.Spec.Priority != nil {
		pod.Priority = *p.Spec.Priority
	}
	if a := p.Spec.Affinity; a != nil && a.PodAffinity != nil {
		pod.RequiredAffinity = terms(p.Namespace, a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		pod.PreferredAffinity = weightedTerms(p.Namespace, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if a := p.Spec.Affinity; a != nil && a.PodAntiAffinity != nil {
		pod.RequiredAntiAffinity = terms(p.Namespace, a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		pod.PreferredAntiAffinity = weightedTerms(p.Namespace, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	return pod
}

func claims(p *corev1.Pod) []string {
	var out []string
	for i := range p.Spec.Volumes {
		if name, _ := ClaimName(p, &p.Spec.Volumes[i]); name != "" {
			out = append(out, p.Namespace+"/"+name)
		}
	}
	return out
}

// ClaimName is the name of the claim of a pod's volume, or empty if it has none, and whether it is made for the pod.
func ClaimName(p *corev1.Pod, v *corev1.Volume) (name string, ephemeral bool) {
	switch {
	case v.PersistentVolumeClaim != nil:
		return v.PersistentVolumeClaim.ClaimName, false
	case v.Ephemeral != nil:
		return p.Name + "-" + v.Name, true
	default:
		return "", false
	}
}

func hostPorts(p *corev1.Pod) []HostPort {
	var ports []HostPort
	add := func(c *corev1.Container) {
		for _, port := range c.Ports {
			if port.HostPort <= 0 {
				continue
			}
			ports = append(ports, HostPort{IP: cmp.Or(port.HostIP, "0.0.0.0"), Protocol: cmp.Or(port.Protocol, corev1.ProtocolTCP), Port: port.HostPort})
		}
	}
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	for i := range p.Spec.Containers {
		add(&p.Spec.Containers[i])
	}
	return ports
}

// terms parses; a term that the API server should not have let pass selects nothing.
func terms(namespace string, in []corev1.PodAffinityTerm) []Term {
	var out []Term
	for i := range in {
		t := Term{TopologyKey: in[i].TopologyKey, Namespaces: slices.Sorted(slices.Values(in[i].Namespaces))}
		var err error
		if t.Selector, err = metav1.LabelSelectorAsSelector(in[i].LabelSelector); err != nil {
			t.Selector = labels.Nothing()
		}
		if t.NamespaceSelector, err = metav1.LabelSelectorAsSelector(in[i].NamespaceSelector); err != nil {
			t.NamespaceSelector = labels.Nothing()
		}
		if len(t.Namespaces) == 0 && in[i].NamespaceSelector == nil {
			t.Namespaces = []string{namespace}
		}
		out = append(out, t)
	}
	return out
}

func weightedTerms(namespace string, in []corev1.WeightedPodAffinityTerm) []Term {
	plain := make([]corev1.PodAffinityTerm, len(in))
	for i := range in {
		plain[i] = in[i].PodAffinityTerm
	}
	out := terms(namespace, plain)
	for i := range in {
		out[i].Weight = int64(in[i].Weight)
	}
	return out
}

// Matches tells whether the term selects a pod of these labels, whose namespace has namespaceLabels.
func (t *Term) Matches(p *Pod, namespaceLabels labels.Set) bool {
	_, listed := slices.BinarySearch(t.Namespaces, p.Namespace)
	return (listed || t.NamespaceSelector.Matches(namespaceLabels)) && t.Selector.Matches(labels.Set(p.Labels))
}

// key names what the term selects, whatever its topology key and weight are.
func (t *Term) key() string {
	return strings.Join(t.Namespaces, ",") + "|" + selectorKey(t.NamespaceSelector) + "|" + selectorKey(t.Selector)
}
