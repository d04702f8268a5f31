package localpath

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	volumehelper "k8s.io/component-helpers/storage/volume"
)

func TestDecide(t *testing.T) {
	for name, tc := range map[string]struct {
		policy                     corev1.PersistentVolumeReclaimPolicy
		phase                      corev1.PersistentVolumePhase
		guarded, deleting, removed bool
		want                       fate
	}{
		"bound":                           {policy: corev1.PersistentVolumeReclaimDelete, phase: corev1.VolumeBound, guarded: true, want: keep},
		"bound and deleted":               {policy: corev1.PersistentVolumeReclaimDelete, phase: corev1.VolumeBound, guarded: true, deleting: true, want: keep},
		"released":                        {policy: corev1.PersistentVolumeReclaimDelete, phase: corev1.VolumeReleased, guarded: true, want: remove},
		"could not be removed":            {policy: corev1.PersistentVolumeReclaimDelete, phase: corev1.VolumeFailed, guarded: true, want: remove},
		"deleted, then released":          {policy: corev1.PersistentVolumeReclaimDelete, phase: corev1.VolumeReleased, guarded: true, deleting: true, want: remove},
		"removed, but another's to end":   {policy: corev1.PersistentVolumeReclaimDelete, phase: corev1.VolumeReleased, deleting: true, want: keep},
		"now to be deleted":               {policy: corev1.PersistentVolumeReclaimDelete, phase: corev1.VolumeBound, want: guard},
		"now to be kept":                  {policy: corev1.PersistentVolumeReclaimRetain, phase: corev1.VolumeBound, guarded: true, want: unguard},
		"kept":                            {policy: corev1.PersistentVolumeReclaimRetain, phase: corev1.VolumeReleased, want: keep},
		"kept, and deleted by its admin":  {policy: corev1.PersistentVolumeReclaimRetain, phase: corev1.VolumeReleased, guarded: true, deleting: true, want: unguard},
		"deletable, released, unguarded":  {policy: corev1.PersistentVolumeReclaimDelete, phase: corev1.VolumeReleased, want: remove},
		"recycled is nothing of the kind": {policy: corev1.PersistentVolumeReclaimRecycle, phase: corev1.VolumeReleased, want: keep},
	} {
		v := &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{PersistentVolumeReclaimPolicy: tc.policy}, Status: corev1.PersistentVolumeStatus{Phase: tc.phase}}
		if tc.guarded {
			v.Finalizers = []string{volumehelper.PVDeletionProtectionFinalizer}
		}
		if tc.deleting {
			v.DeletionTimestamp = new(metav1.Now())
		}
		if got := decide(v); got != tc.want {
			t.Errorf("%s: %d, not %d", name, got, tc.want)
		}
	}
}

func TestChoose(t *testing.T) {
	node := func(name string, ready corev1.ConditionStatus, cordoned bool) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{Unschedulable: cordoned},
			Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}}}
	}
	if n := choose([]corev1.Node{node("down", corev1.ConditionUnknown, false), node("cordoned", corev1.ConditionTrue, true)}, "x"); n != nil {
		t.Errorf("chose %s", n.Name)
	}
	nodes := []corev1.Node{node("b", corev1.ConditionTrue, false), node("down", corev1.ConditionFalse, false), node("a", corev1.ConditionTrue, false)}
	reversed := []corev1.Node{nodes[2], nodes[1], nodes[0]}
	seen := map[string]bool{}
	for _, uid := range []types.UID{"1", "2", "3", "4", "5", "6", "7", "8"} {
		n := choose(nodes, uid)
		if again := choose(reversed, uid); again.Name != n.Name {
			t.Errorf("the order of nodes decides: %s or %s", n.Name, again.Name)
		}
		seen[n.Name] = true
	}
	if !seen["a"] || !seen["b"] || seen["down"] {
		t.Errorf("chose among %v", seen)
	}
}
