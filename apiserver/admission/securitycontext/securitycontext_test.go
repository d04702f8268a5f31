package securitycontext

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"
)

func TestWhatPodsMayNotChoose(t *testing.T) {
	id := int64(1)
	of := func(s corev1.PodSecurityContext) corev1.PodSpec { return corev1.PodSpec{SecurityContext: &s} }
	container := func(s corev1.SecurityContext) corev1.PodSpec {
		return corev1.PodSpec{Containers: []corev1.Container{{}, {SecurityContext: &s}}}
	}
	for want, spec := range map[string]corev1.PodSpec{
		"": {SecurityContext: &corev1.PodSecurityContext{RunAsGroup: &id}, Containers: []corev1.Container{{SecurityContext: &corev1.SecurityContext{RunAsGroup: &id}}}},
		"pod.Spec.SecurityContext.SupplementalGroups is forbidden": of(corev1.PodSecurityContext{SupplementalGroups: []int64{1}}),
		"pod.Spec.SecurityContext.SELinuxOptions is forbidden":     of(corev1.PodSecurityContext{SELinuxOptions: &corev1.SELinuxOptions{}}),
		"pod.Spec.SecurityContext.RunAsUser is forbidden":          of(corev1.PodSecurityContext{RunAsUser: &id}),
		"pod.Spec.SecurityContext.FSGroup is forbidden":            of(corev1.PodSecurityContext{FSGroup: &id}),
		": SecurityContext.SELinuxOptions is forbidden":            container(corev1.SecurityContext{SELinuxOptions: &corev1.SELinuxOptions{}}),
		": SecurityContext.RunAsUser is forbidden":                 {InitContainers: []corev1.Container{{SecurityContext: &corev1.SecurityContext{RunAsUser: &id}}}},
	} {
		a := admission.NewAttributesRecord(&corev1.Pod{Spec: spec}, nil, corev1.SchemeGroupVersion.WithKind("Pod"), "x", "y",
			corev1.SchemeGroupVersion.WithResource("pods"), "", admission.Create, nil, false, nil)
		err := New().Validate(t.Context(), a, nil)
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
