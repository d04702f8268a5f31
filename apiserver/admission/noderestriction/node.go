package noderestriction

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apiserver/pkg/admission"
)

func nodes(node string, a admission.Attributes) error {
	name := a.GetName()
	if a.GetOperation() == admission.Delete {
		return fmt.Errorf("node %q is not allowed to delete node %q", node, name)
	}
	n, ok := a.GetObject().(*corev1.Node)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.GetObject())
	}
	if a.GetOperation() == admission.Create {
		if name == "" {
			name = n.Name
		}
		if bad := forbiddenLabels(nil, n.Labels); len(bad) > 0 {
			return fmt.Errorf("node %q is not allowed to set the following labels: %s", node, strings.Join(bad, ", "))
		}
		if n.Spec.ConfigSource != nil {
			return fmt.Errorf("node %q is not allowed to create pods with a non-nil configSource", node)
		}
	}
	if name != node {
		return fmt.Errorf("node %q is not allowed to modify node %q", node, name)
	}
	if len(n.OwnerReferences) > 0 && a.GetOperation() == admission.Create {
		return fmt.Errorf("node %q is not allowed to set ownerReferences", node)
	}
	if a.GetOperation() != admission.Update {
		return nil
	}
	old, ok := a.GetOldObject().(*corev1.Node)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.GetOldObject())
	}
	switch {
	case !equality.Semantic.DeepEqual(n.OwnerReferences, old.OwnerReferences):
		return fmt.Errorf("node %q is not allowed to modify ownerReferences", node)
	case n.Spec.ConfigSource != nil && !equality.Semantic.DeepEqual(n.Spec.ConfigSource, old.Spec.ConfigSource):
		return fmt.Errorf("node %q is not allowed to update configSource to a new non-nil configSource", node)
	case !equality.Semantic.DeepEqual(n.Spec.Taints, old.Spec.Taints):
		return fmt.Errorf("node %q is not allowed to modify taints", node)
	}
	if bad := forbiddenLabels(old.Labels, n.Labels); len(bad) > 0 {
		return fmt.Errorf("is not allowed to modify labels: %s", strings.Join(bad, ", "))
	}
	return nil
}

// ownLabels are the labels of Kubernetes that an agent may set on its node.
var ownLabels = map[string]bool{
	corev1.LabelHostname: true, corev1.LabelTopologyZone: true, corev1.LabelTopologyRegion: true,
	corev1.LabelFailureDomainBetaZone: true, corev1.LabelFailureDomainBetaRegion: true,
	corev1.LabelInstanceType: true, corev1.LabelInstanceTypeStable: true,
	corev1.LabelOSStable: true, corev1.LabelArchStable: true, corev1.LabelWindowsBuild: true,
	"beta.kubernetes.io/os": true, "beta.kubernetes.io/arch": true,
}

// forbiddenLabels are the changed labels that are not the agent's to change, sorted.
func forbiddenLabels(old, now map[string]string) []string {
	var bad []string
	check := func(key string) {
		domain, _, _ := strings.Cut(key, "/")
		in := func(d string) bool { return domain == d || strings.HasSuffix(domain, "."+d) }
		switch {
		case in("node-restriction.kubernetes.io"):
			bad = append(bad, key)
		case !in("kubernetes.io") && !in("k8s.io"), ownLabels[key], in("kubelet.kubernetes.io"), in("node.kubernetes.io"):
		default:
			bad = append(bad, key)
		}
	}
	for key, value := range now {
		if was, ok := old[key]; !ok || was != value {
			check(key)
		}
	}
	for key := range old {
		if _, ok := now[key]; !ok {
			check(key)
		}
	}
	slices.Sort(bad)
	return bad
}
