package object

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
)

func named(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }

func TestRefs(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n"}, Spec: corev1.PodSpec{
		ImagePullSecrets: []corev1.LocalObjectReference{named("pull")},
		InitContainers:   []corev1.Container{{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("init")}}}}},
		Containers: []corev1.Container{{
			Env:     []corev1.EnvVar{{ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("key")}}}, {Value: "x"}},
			EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("all")}}},
		}},
		Volumes: []corev1.Volume{
			{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: named("all")}}},
			{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "vol"}}},
			{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: named("ca")}}, {Secret: &corev1.SecretProjection{LocalObjectReference: named("p")}}, {ServiceAccountToken: &corev1.ServiceAccountTokenProjection{}},
			}}}},
		},
	}}
	want := []Ref{{Secret, "n", "pull"}, {Secret, "n", "init"}, {ConfigMap, "n", "all"}, {ConfigMap, "n", "key"}, {Secret, "n", "vol"}, {ConfigMap, "n", "ca"}, {Secret, "n", "p"}}
	if diff := cmp.Diff(want, Refs(pod)); diff != "" {
		t.Error(diff)
	}
}

func TestStore(t *testing.T) {
	client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "c", ResourceVersion: "1"}, Data: map[string]string{"a": "1"}})
	var mu sync.Mutex
	changes := make(chan types.UID, 10)
	s := New(t.Context(), client, func(uid types.UID) { mu.Lock(); defer mu.Unlock(); changes <- uid })
	if _, err := s.ConfigMap(t.Context(), "n", "c"); err == nil {
		t.Error("an object that nobody refers to was found")
	}
	s.SetRefs("u", []Ref{{ConfigMap, "n", "c"}, {Secret, "n", "none"}})
	cm, err := s.ConfigMap(t.Context(), "n", "c")
	if err != nil || cm.Data["a"] != "1" {
		t.Fatalf("%+v, %v", cm, err)
	}
	if _, err := s.Secret(t.Context(), "n", "none"); !apierrors.IsNotFound(err) || err.Error() != `secret "none" not found` {
		t.Errorf("missing secret: %v", err)
	}
	next := cm.DeepCopy()
	next.ResourceVersion, next.Data["a"] = "2", "2"
	if _, err := client.CoreV1().ConfigMaps("n").Update(t.Context(), next, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case uid := <-changes:
		if uid != "u" {
			t.Errorf("change told to %s", uid)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the change was not noticed")
	}
	if cm, err := s.ConfigMap(t.Context(), "n", "c"); err != nil || cm.Data["a"] != "2" {
		t.Errorf("after the change: %+v, %v", cm, err)
	}
	s.SetRefs("v", []Ref{{ConfigMap, "n", "c"}})
	s.Forget("u")
	if _, err := s.ConfigMap(t.Context(), "n", "c"); err != nil {
		t.Errorf("forgotten although another pod refers to it: %v", err)
	}
	s.Forget("v")
	if len(s.entries) != 0 || len(s.byPod) != 0 {
		t.Errorf("still watched: %v, %v", s.entries, s.byPod)
	}
}
