package noderestriction

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes/fake"
)

func TestForbiddenLabels(t *testing.T) {
	old := map[string]string{"kubernetes.io/hostname": "n1", "node-role.kubernetes.io/worker": "", "mine": "a"}
	now := map[string]string{
		"kubernetes.io/hostname": "n2", "mine": "b", "example.com/x": "y", "node.kubernetes.io/kind": "big", "kubelet.kubernetes.io/x": "y",
		"topology.kubernetes.io/zone": "z", "node-role.kubernetes.io/control-plane": "", "x.node-restriction.kubernetes.io/y": "", "foo.k8s.io/bar": "",
	}
	want := []string{"foo.k8s.io/bar", "node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/worker", "x.node-restriction.kubernetes.io/y"}
	if diff := cmp.Diff(want, forbiddenLabels(old, now)); diff != "" {
		t.Errorf("forbidden (-want +got):\n%s", diff)
	}
	if bad := forbiddenLabels(old, old); bad != nil {
		t.Errorf("unchanged labels are forbidden: %v", bad)
	}
}

func TestMirrorPods(t *testing.T) {
	p := New()
	p.SetExternalKubeClientSet(fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "u1"}}))
	yes := true
	mirror := func(change func(*corev1.Pod)) *corev1.Pod {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: "static", Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "x"},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "u1", Controller: &yes}},
			},
			Spec: corev1.PodSpec{NodeName: "n1"},
		}
		change(pod)
		return pod
	}
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"good":               {func(*corev1.Pod) {}, ""},
		"no mirror":          {func(p *corev1.Pod) { p.Annotations = nil }, "can only create mirror pods"},
		"of another node":    {func(p *corev1.Pod) { p.Spec.NodeName = "n2" }, "spec.nodeName set to itself"},
		"owned by nobody":    {func(p *corev1.Pod) { p.OwnerReferences = nil }, "owner reference set to itself"},
		"owned by an old me": {func(p *corev1.Pod) { p.OwnerReferences[0].UID = "u0" }, "UID mismatch"},
		"with an account":    {func(p *corev1.Pod) { p.Spec.ServiceAccountName = "x" }, "reference a service account"},
		"with a secret": {func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}}}
		}, "reference secrets"},
	} {
		err := p.Validate(t.Context(), attributes(mirror(c.change), "n1"), nil)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func attributes(pod runtime.Object, node string) admission.Attributes {
	return admission.NewAttributesRecord(pod, nil, corev1.SchemeGroupVersion.WithKind("Pod"), "default", "static",
		corev1.SchemeGroupVersion.WithResource("pods"), "", admission.Create, &metav1.CreateOptions{}, false,
		&user.DefaultInfo{Name: "system:node:" + node, Groups: []string{user.NodesGroup}})
}
