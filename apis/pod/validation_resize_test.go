package pod

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// resizable reads a pod whose containers are given as YAML.
func resizable(t *testing.T, spec string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default"}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	Default(p)
	return p
}

func TestValidateResize(t *testing.T) {
	const before = `
containers: [{name: a, image: a, resources: {requests: {cpu: 1, memory: 1Gi, ephemeral-storage: 1Gi}, limits: {cpu: 2}}}]
initContainers:
- {name: i, image: i, resources: {requests: {cpu: 1}}}
- {name: s, image: s, restartPolicy: Always, resources: {requests: {cpu: 1}}}
`
	for _, c := range []struct {
		name, after string
		want        []string
	}{
		{"more cpu and memory, also of a sidecar", `
containers: [{name: a, image: a, resources: {requests: {cpu: 2, memory: 2Gi, ephemeral-storage: 1Gi}, limits: {cpu: 3, memory: 4Gi}}}]
initContainers: [{name: i, image: i, resources: {requests: {cpu: 1}}}, {name: s, image: s, restartPolicy: Always, resources: {requests: {cpu: 500m}}}]`, nil},
		{"something removed", `
containers: [{name: a, image: a, resources: {requests: {cpu: 1, ephemeral-storage: 1Gi}}}]
initContainers: [{name: i, image: i, resources: {requests: {cpu: 1}}}, {name: s, image: s, restartPolicy: Always, resources: {requests: {cpu: 1}}}]`,
			[]string{"spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed", "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"}},
		{"other resources, and a container that ends", `
containers: [{name: a, image: a, resources: {requests: {cpu: 1, memory: 1Gi, ephemeral-storage: 2Gi}, limits: {cpu: 2}}}]
initContainers: [{name: i, image: i, resources: {requests: {cpu: 2}}}, {name: s, image: s, restartPolicy: Always, resources: {requests: {cpu: 1}}}]`,
			[]string{"spec: Forbidden: only cpu and memory resources are mutable", "spec: Forbidden: only cpu and memory resources for sidecar containers are mutable"}},
		{"requests above limits", `
containers: [{name: a, image: a, resources: {requests: {cpu: 3, memory: 1Gi, ephemeral-storage: 1Gi}, limits: {cpu: 2}}}]
initContainers: [{name: i, image: i, resources: {requests: {cpu: 1}}}, {name: s, image: s, restartPolicy: Always, resources: {requests: {cpu: 1}}}]`,
			[]string{`spec.containers[0].resources.requests: Invalid value: "3": must be less than or equal to cpu limit of 2`}},
	} {
		expect(t, c.name, ValidateResize(resizable(t, c.after), resizable(t, before)), c.want)
	}
	guaranteed := resizable(t, "containers: [{name: a, image: a, resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}}}]")
	burstable := resizable(t, "containers: [{name: a, image: a, resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 1Gi}}}]")
	expect(t, "class of service", ValidateResize(burstable, guaranteed), []string{`spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing`})
	static := guaranteed.DeepCopy()
	static.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	expect(t, "static", ValidateResize(guaranteed, static), []string{"[]: Forbidden: static pods cannot be resized"})
}
