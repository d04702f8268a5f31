package plugin

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/scheduler/snapshot"
)

func uses(claim string) podOption {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: claim, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}})
	}
}

func TestVolumes(t *testing.T) {
	claim := func(name, volume, class string) *corev1.PersistentVolumeClaim {
		c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		c.Spec.VolumeName, c.Spec.StorageClassName = volume, &class
		if volume != "" {
			c.Status.Phase = corev1.ClaimBound
		}
		return c
	}
	wait := storagev1.VolumeBindingWaitForFirstConsumer
	c := world(node("a"), node("b"))
	c.SetClass(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "local"}, VolumeBindingMode: &wait})
	c.SetClaim(claim("anywhere", "v", ""))
	c.SetClaim(claim("on-b", "vb", ""))
	c.SetClaim(claim("on-b-too", "vb", ""))
	c.SetClaim(claim("on-c", "vc", ""))
	c.SetClaim(claim("unbound", "", ""))
	c.SetClaim(claim("waits", "", "local"))
	c.SetClaim(claim("lost", "nowhere", ""))
	deleted := claim("deleted", "v", "")
	deleted.DeletionTimestamp = &metav1.Time{}
	c.SetClaim(deleted)
	volume := func(name, node string) {
		v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if node != "" {
			v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}}}}}
		}
		c.SetVolume(v)
	}
	volume("v", "")
	volume("vb", "b")
	volume("vc", "c")
	const tail = " no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
	ephemeral := func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}}}
	}
	for _, tc := range []struct {
		pod  *corev1.Pod
		want string
	}{
		{pod("p", uses("anywhere")), "a"},
		{pod("p", uses("anywhere"), uses("on-b"), uses("on-b-too")), "b"},
		{pod("p", uses("on-c")), "0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity." + tail},
		{pod("p", uses("none")), `0/2 nodes are available: persistentvolumeclaim "none" not found.` + tail},
		{pod("p", uses("deleted")), `0/2 nodes are available: persistentvolumeclaim "deleted" is being deleted.` + tail},
		{pod("p", uses("lost")), "0/2 nodes are available: 2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)." + tail},
		{pod("p", uses("unbound")), "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims." + tail},
		{pod("p", uses("waits")), "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind." + tail},
		{pod("p", ephemeral), `0/2 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim "p-scratch".` + tail},
	} {
		if got := decide(c, tc.pod); got != tc.want {
			t.Errorf("pod with volumes %v\ngot  %s\nwant %s", tc.pod.Spec.Volumes, got, tc.want)
		}
	}
	made := claim("p-scratch", "v", "")
	yes := true
	made.OwnerReferences = []metav1.OwnerReference{{Kind: "Pod", Name: "p", UID: "p", Controller: &yes}}
	c.SetClaim(made)
	if got := decide(c, pod("p", ephemeral)); got != "a" {
		t.Errorf("pod with its own claim: %s", got)
	}
	other := pod("p", ephemeral)
	other.UID = "another"
	if got := snapshot.NewPod(other); decide(c, got.Pod) == "a" {
		t.Error("a pod takes the claim of another of its name")
	}
}
