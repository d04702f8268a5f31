package pod

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWarnings(t *testing.T) {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web.1"},
		Spec: corev1.PodSpec{
			NodeSelector:                  map[string]string{"beta.kubernetes.io/os": "linux", "disk": "ssd"},
			TerminationGracePeriodSeconds: new(int64(-1)),
			Volumes:                       []corev1.Volume{{Name: "g", VolumeSource: corev1.VolumeSource{GitRepo: &corev1.GitRepoVolumeSource{}}}},
			Containers: []corev1.Container{
				{
					Name: "a", Env: []corev1.EnvVar{{Name: "X"}, {Name: "Y"}, {Name: "X"}},
					Ports:     []corev1.ContainerPort{{ContainerPort: 80, Name: "http"}, {ContainerPort: 80}},
					Resources: corev1.ResourceRequirements{Limits: quantities("memory", "100m")},
				},
				{Name: "b", Ports: []corev1.ContainerPort{{ContainerPort: 81, Name: "http"}}},
			},
		},
	}
	want := []string{
		"metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
		`spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead`,
		"spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
		"spec.volumes[0].gitRepo: deprecated in v1.11",
		`spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer`,
		`spec.containers[0].env[2]: hides previous definition of "X", which may be dropped when using apply`,
		"spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
		`spec.containers[1].ports[0]: duplicate port name "http" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]`,
	}
	if diff := cmp.Diff(want, Warnings(p)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := Warnings(valid()); len(got) > 0 {
		t.Errorf("a pod with nothing odd has warnings %q", got)
	}
}
