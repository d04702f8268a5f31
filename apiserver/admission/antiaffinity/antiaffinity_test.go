package antiaffinity

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"
)

func TestTopologies(t *testing.T) {
	away := func(topologies ...string) *corev1.Affinity {
		a := &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{
			{Weight: 1, PodAffinityTerm: corev1.PodAffinityTerm{TopologyKey: "region"}},
		}}
		for _, topology := range topologies {
			a.RequiredDuringSchedulingIgnoredDuringExecution = append(a.RequiredDuringSchedulingIgnoredDuringExecution, corev1.PodAffinityTerm{TopologyKey: topology})
		}
		return &corev1.Affinity{PodAntiAffinity: a}
	}
	for name, c := range map[string]struct {
		affinity *corev1.Affinity
		want     string
	}{
		"none":                {nil, ""},
		"no anti-affinity":    {&corev1.Affinity{}, ""},
		"preferred":           {away(), ""},
		"by node":             {away(corev1.LabelHostname), ""},
		"by zone":             {away("zone"), "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key kubernetes.io/hostname is allowed"},
		"by node and by zone": {away(corev1.LabelHostname, "zone"), "TopologyKey zone"},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{Affinity: c.affinity}}
		a := admission.NewAttributesRecord(pod, nil, corev1.SchemeGroupVersion.WithKind("Pod"), "x", "y",
			corev1.SchemeGroupVersion.WithResource("pods"), "", admission.Create, nil, false, nil)
		err := New().Validate(t.Context(), a, nil)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
