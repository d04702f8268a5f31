package nodeauthz

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func bound(name, node, secretName, claimName string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec: corev1.PodSpec{NodeName: node, ServiceAccountName: "sa", Volumes: []corev1.Volume{
			{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secretName}}},
			{VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claimName}}},
		}},
	}
}

func TestGraphFollowsPods(t *testing.T) {
	g := NewGraph()
	s := object{secret, "ns", "s"}
	expect := func(when string, n1, n2 bool) {
		t.Helper()
		if got := []bool{g.reaches("n1", s), g.reaches("n2", s)}; got[0] != n1 || got[1] != n2 {
			t.Errorf("%s: n1 and n2 reach the secret: %v, want %v, %v", when, got, n1, n2)
		}
	}
	expect("at first", false, false)
	a, b := bound("a", "n1", "s", "c"), bound("b", "n1", "s", "c")
	g.podChanged(a, false)
	g.podChanged(b, false)
	g.podChanged(a, false) // seen twice counts once
	expect("two pods", true, false)
	g.podChanged(a, true)
	expect("one pod left", true, false)
	g.podChanged(b, true)
	expect("none left", false, false)
	if len(g.nodes) != 0 || len(g.pods) != 0 {
		t.Errorf("the graph keeps %v, %v of pods that are gone", g.nodes, g.pods)
	}
}

func TestGraphReachesVolumesThroughClaims(t *testing.T) {
	g := NewGraph()
	g.podChanged(bound("a", "n1", "s", "c"), false)
	v := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "v"},
		Spec: corev1.PersistentVolumeSpec{
			ClaimRef: &corev1.ObjectReference{Namespace: "ns", Name: "c"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				NodePublishSecretRef: &corev1.SecretReference{Namespace: "csi", Name: "key"},
			}},
		},
	}
	reach := func() []bool {
		return []bool{g.reaches("n1", object{volume, "", "v"}), g.reaches("n1", object{secret, "csi", "key"}), g.reaches("n2", object{volume, "", "v"})}
	}
	g.volumeChanged(v, false)
	if diff := cmp.Diff([]bool{true, true, false}, reach()); diff != "" {
		t.Errorf("bound volume (-want +got):\n%s", diff)
	}
	g.volumeChanged(v, true)
	if diff := cmp.Diff([]bool{false, false, false}, reach()); diff != "" {
		t.Errorf("volume that is gone (-want +got):\n%s", diff)
	}
}

func TestMirrorPodsWinNothing(t *testing.T) {
	p := bound("static", "n1", "s", "c")
	p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	if refs := references(p); len(refs) != 1 {
		t.Errorf("a mirror pod refers to %v", refs)
	}
}

func TestStripKeepsReferences(t *testing.T) {
	p := bound("a", "n1", "s", "c")
	p.Labels = map[string]string{"big": "label"}
	p.Spec.Containers = []corev1.Container{{Name: "c", Image: "x", EnvFrom: []corev1.EnvFromSource{
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}}},
	}}}
	slim, err := strip(p)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(references(p), references(slim.(*corev1.Pod)), cmp.AllowUnexported(object{})); diff != "" {
		t.Errorf("references (-whole +stripped):\n%s", diff)
	}
	if slim.(*corev1.Pod).Labels != nil {
		t.Error("labels are kept")
	}
}
