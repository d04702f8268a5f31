package runtimeclass

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/kubernetes/fake"
)

func TestClasses(t *testing.T) {
	overhead := corev1.ResourceList{"cpu": resource.MustParse("100m")}
	toleration := corev1.Toleration{Key: "vm", Operator: corev1.TolerationOpExists}
	p := New()
	p.SetExternalKubeClientSet(fake.NewClientset(
		&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "plain"}},
		&nodev1.RuntimeClass{
			ObjectMeta: metav1.ObjectMeta{Name: "vm"}, Overhead: &nodev1.Overhead{PodFixed: overhead},
			Scheduling: &nodev1.Scheduling{NodeSelector: map[string]string{"vm": "yes"}, Tolerations: []corev1.Toleration{toleration}},
		}))
	of := func(class string, change ...func(*corev1.PodSpec)) *corev1.Pod {
		pod := &corev1.Pod{}
		if class != "" {
			pod.Spec.RuntimeClassName = &class
		}
		for _, f := range change {
			f(&pod.Spec)
		}
		return pod
	}
	costing := func(cpu string) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) { s.Overhead = corev1.ResourceList{"cpu": resource.MustParse(cpu)} }
	}
	elsewhere := func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"vm": "no"} }
	whole := corev1.PodSpec{Overhead: overhead, NodeSelector: map[string]string{"vm": "yes"}, Tolerations: []corev1.Toleration{toleration}}
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		want corev1.PodSpec
		err  string
	}{
		"none":                     {of(""), corev1.PodSpec{}, ""},
		"of no cost":               {of("plain"), corev1.PodSpec{}, ""},
		"with everything":          {of("vm"), whole, ""},
		"with what it costs":       {of("vm", costing("100m")), whole, ""},
		"with another cost":        {of("vm", costing("1")), corev1.PodSpec{}, "Pod's Overhead doesn't match RuntimeClass's defined Overhead"},
		"elsewhere":                {of("vm", elsewhere), corev1.PodSpec{}, "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no"},
		"missing":                  {of("missing"), corev1.PodSpec{}, `pod rejected: RuntimeClass "missing" not found`},
		"a cost without a class":   {of("", costing("1")), corev1.PodSpec{}, "Pod Overhead set without corresponding RuntimeClass defined Overhead"},
		"a cost of a class of one": {of("plain", costing("1")), corev1.PodSpec{}, "Pod's Overhead doesn't match"},
	} {
		a := admission.NewAttributesRecord(c.pod, nil, corev1.SchemeGroupVersion.WithKind("Pod"), "ns", "p",
			corev1.SchemeGroupVersion.WithResource("pods"), "", admission.Create, nil, false, nil)
		err := p.Admit(t.Context(), a, nil)
		if err == nil {
			err = p.Validate(t.Context(), a, nil)
		}
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", name, err, c.err)
		}
		c.pod.Spec.RuntimeClassName = nil
		if diff := cmp.Diff(c.want, c.pod.Spec); err == nil && diff != "" {
			t.Errorf("%s: pod (-want +got):\n%s", name, diff)
		}
	}
}
