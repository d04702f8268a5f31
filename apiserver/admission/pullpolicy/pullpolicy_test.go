package pullpolicy

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
)

func attributes(now, old runtime.Object, subresource string) admission.Attributes {
	op := admission.Create
	if old != nil {
		op = admission.Update
	}
	return admission.NewAttributesRecord(now, old, corev1.SchemeGroupVersion.WithKind("Pod"), "x", "y",
		corev1.SchemeGroupVersion.WithResource("pods"), subresource, op, nil, false, nil)
}

func podOf(image string) *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{{Image: image, ImagePullPolicy: corev1.PullNever}},
		Containers:     []corev1.Container{{Image: image, ImagePullPolicy: corev1.PullIfNotPresent}, {Image: image}},
		Volumes: []corev1.Volume{
			{VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image}}},
		},
	}}
}

func TestEveryImageIsPulled(t *testing.T) {
	p := New()
	for name, c := range map[string]struct {
		a    admission.Attributes
		want bool
	}{
		"new":                {attributes(podOf("a"), nil, ""), true},
		"with another image": {attributes(podOf("b"), podOf("a"), ""), true},
		"with the same":      {attributes(podOf("a"), podOf("a"), ""), false},
		"another subject":    {attributes(podOf("b"), podOf("a"), "status"), false},
	} {
		err := p.Validate(t.Context(), c.a, nil)
		if (err != nil) != c.want || err != nil && !strings.Contains(err.Error(), `spec.initContainers[0].imagePullPolicy: Unsupported value: "Never": supported values: "Always"`) {
			t.Errorf("%s: before: %v", name, err)
		}
		if err := p.Admit(t.Context(), c.a, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := p.Validate(t.Context(), c.a, nil); err != nil {
			t.Errorf("%s: after: %v", name, err)
		}
		pod := c.a.GetObject().(*corev1.Pod)
		for _, i := range images(pod) {
			if (*i.policy == corev1.PullAlways) != c.want {
				t.Errorf("%s: %s is %q", name, i.path, *i.policy)
			}
		}
	}
}
