package scheduler

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"coracle.dev/coracle/scheduler/snapshot"
)

// TestSlim: a pod counts for the same after what is not looked at was dropped.
func TestSlim(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	asks := func(cpu string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse(cpu)}}
	}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: types.UID("p"), Labels: map[string]string{"app": "x"}, Annotations: map[string]string{"a": "b"}}}
	p.Spec.NodeName = "n"
	p.Spec.InitContainers = []corev1.Container{{Name: "side", RestartPolicy: &always, Resources: asks("100m"), Env: []corev1.EnvVar{{Name: "X"}}}, {Name: "init", Resources: asks("2")}}
	p.Spec.Containers = []corev1.Container{{Name: "c", Image: "img", Resources: asks("1"), Ports: []corev1.ContainerPort{{HostPort: 80}}, VolumeMounts: []corev1.VolumeMount{{Name: "v"}}}}
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
	three := asks("3")
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", Image: "img", AllocatedResources: three.Requests, Resources: &three}}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	whole := snapshot.NewPod(p.DeepCopy())
	if _, err := slim(p); err != nil {
		t.Fatal(err)
	}
	if p.Annotations != nil || p.Spec.Containers[0].Image != "" || p.Spec.InitContainers[0].Env != nil || len(p.Status.Conditions) != 0 {
		t.Errorf("it still has much: %+v", p)
	}
	slimmed := snapshot.NewPod(p)
	whole.Pod, slimmed.Pod = nil, nil
	if d := cmp.Diff(whole, slimmed); d != "" {
		t.Errorf("it counts for something else (-whole +slim):\n%s", d)
	}
	if whole.Requests.MilliCPU != 3100 {
		t.Errorf("it takes %dm CPU", whole.Requests.MilliCPU)
	}
	waiting := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"a": "b"}}}
	if _, err := slim(waiting); err != nil || waiting.Annotations == nil {
		t.Errorf("a pod that waits lost what an extender may look at (%v)", err)
	}
}
