package limitranger

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func list(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

func pod(requests, limits corev1.ResourceList) *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{
		{Name: "c", Resources: corev1.ResourceRequirements{Requests: requests, Limits: limits}},
	}}}
}

func TestDefaults(t *testing.T) {
	lr := &corev1.LimitRange{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
		{Type: corev1.LimitTypeContainer, Default: list("cpu", "1", "memory", "1Gi"), DefaultRequest: list("cpu", "100m")},
	}}}
	p := pod(nil, list("cpu", "2"))
	applyDefaults(p, lr)
	r := p.Spec.Containers[0].Resources
	if diff := cmp.Diff([]corev1.ResourceList{list("cpu", "100m"), list("cpu", "2", "memory", "1Gi")}, []corev1.ResourceList{r.Requests, r.Limits}); diff != "" {
		t.Errorf("requests and limits (-want +got):\n%s", diff)
	}
	want := "LimitRanger plugin set: cpu request for container c; memory limit for container c"
	if got := p.Annotations[annotation]; got != want {
		t.Errorf("annotation %q, want %q", got, want)
	}
}

func TestFaults(t *testing.T) {
	lr := &corev1.LimitRange{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
		{Type: corev1.LimitTypeContainer, Min: list("cpu", "100m"), Max: list("cpu", "1"), MaxLimitRequestRatio: list("cpu", "4")},
		{Type: corev1.LimitTypePod, Max: list("memory", "1Gi")},
	}}}
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		want string
	}{
		"inside":       {pod(list("cpu", "250m"), list("cpu", "1", "memory", "1Gi")), ""},
		"too little":   {pod(list("cpu", "50m"), list("cpu", "200m", "memory", "1Gi")), "minimum cpu usage per Container is 100m, but request is 50m"},
		"too much":     {pod(list("cpu", "1"), list("cpu", "2", "memory", "1Gi")), "maximum cpu usage per Container is 1, but limit is 2"},
		"open":         {pod(list("cpu", "1"), list("cpu", "1")), "maximum memory usage per Pod is 1Gi.  No limit is specified"},
		"wide apart":   {pod(list("cpu", "200m"), list("cpu", "1", "memory", "1Gi")), "cpu max limit to request ratio per Container is 4, but provided ratio is 5.000000"},
		"pod too much": {pod(list("cpu", "1"), list("cpu", "1", "memory", "2Gi")), "maximum memory usage per Pod is 1Gi, but limit is 2Gi"},
	} {
		got := ""
		if err := errors.Join(podFaults(c.pod, lr)...); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
