package pvcprotection

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestUses(t *testing.T) {
	byName := corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "p-data"}}}
	other := corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "other"}}}
	ofPod := corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}}
	owned := []metav1.OwnerReference{{UID: "p", Controller: new(true)}}
	for name, tc := range map[string]struct {
		volume corev1.Volume
		node   string
		phase  corev1.PodPhase
		owners []metav1.OwnerReference
		want   bool
	}{
		"runs":                    {byName, "n", corev1.PodRunning, nil, true},
		"is about to start":       {byName, "n", corev1.PodPending, nil, true},
		"has no node yet":         {byName, "", corev1.PodPending, nil, false},
		"has finished":            {byName, "n", corev1.PodSucceeded, nil, false},
		"has another":             {other, "n", corev1.PodRunning, nil, false},
		"has it for itself":       {ofPod, "n", corev1.PodRunning, owned, true},
		"another's of that name":  {ofPod, "n", corev1.PodRunning, nil, false},
		"finished, for itself":    {ofPod, "n", corev1.PodFailed, owned, false},
		"for itself, but no node": {ofPod, "", corev1.PodPending, owned, false},
	} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "p"}, Spec: corev1.PodSpec{NodeName: tc.node, Volumes: []corev1.Volume{tc.volume}}, Status: corev1.PodStatus{Phase: tc.phase}}
		c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "p-data", OwnerReferences: tc.owners}}
		if got := uses(p, c); got != tc.want {
			t.Errorf("a pod that %s: %v", name, got)
		}
	}
}
