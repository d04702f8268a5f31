package plugin

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/storage/volume"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

func storageClass(name, provisioner string, zones ...string) *storagev1.StorageClass {
	wait := storagev1.VolumeBindingWaitForFirstConsumer
	c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, VolumeBindingMode: &wait}
	if zones != nil {
		c.AllowedTopologies = []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: corev1.LabelTopologyZone, Values: zones}}}}
	}
	return c
}

func claimOf(name, class, size string, modes ...corev1.PersistentVolumeAccessMode) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), ResourceVersion: "1"}}
	c.Spec.StorageClassName, c.Spec.AccessModes = &class, modes
	if modes == nil {
		c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	}
	c.Spec.Resources.Requests = list("storage=" + size)
	return c
}

func volumeOn(name, class, size, node string) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: "1"}}
	v.Spec.StorageClassName, v.Spec.Capacity = class, list("storage="+size)
	v.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	v.Status.Phase = corev1.VolumeAvailable
	v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}}}}}
	return v
}

// TestWaitingClaims chooses nodes and volumes for claims that wait for their first consumer.
func TestWaitingClaims(t *testing.T) {
	const tail = " no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
	for _, tc := range []struct {
		name    string
		claims  []*corev1.PersistentVolumeClaim
		volumes []*corev1.PersistentVolume
		want    string
		taken   []string // volumes assumed to be bound, and nodes selected
	}{
		{"a volume on one node", []*corev1.PersistentVolumeClaim{claimOf("c", "local", "1Gi")},
			[]*corev1.PersistentVolume{volumeOn("v", "local", "1Gi", "b")}, "b", []string{"v"}},
		{"the smallest that does", []*corev1.PersistentVolumeClaim{claimOf("c", "local", "1Gi")},
			[]*corev1.PersistentVolume{volumeOn("big", "local", "9Gi", "b"), volumeOn("fit", "local", "2Gi", "b"), volumeOn("small", "local", "1Mi", "b")}, "b", []string{"fit"}},
		{"two claims need two volumes", []*corev1.PersistentVolumeClaim{claimOf("c", "local", "1Gi"), claimOf("d", "local", "1Gi")},
			[]*corev1.PersistentVolume{volumeOn("va", "local", "1Gi", "a"), volumeOn("vb", "local", "1Gi", "b"), volumeOn("vb2", "local", "2Gi", "b")}, "b", []string{"vb", "vb2"}},
		{"none", []*corev1.PersistentVolumeClaim{claimOf("c", "local", "1Gi")}, nil,
			"0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind." + tail, nil},
		{"of another access mode", []*corev1.PersistentVolumeClaim{claimOf("c", "local", "1Gi", corev1.ReadWriteMany)},
			[]*corev1.PersistentVolume{volumeOn("v", "local", "1Gi", "b")}, "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind." + tail, nil},
		{"provisioned where the class is", []*corev1.PersistentVolumeClaim{claimOf("c", "dynamic", "1Gi")}, nil, "b", []string{"node b"}},
		{"one of each", []*corev1.PersistentVolumeClaim{claimOf("c", "dynamic", "1Gi"), claimOf("d", "local", "1Gi")},
			[]*corev1.PersistentVolume{volumeOn("v", "local", "1Gi", "b")}, "b", []string{"node b", "v"}},
		{"of two nodes", []*corev1.PersistentVolumeClaim{claimOf("c", "dynamic", "1Gi"), claimOf("d", "local", "1Gi")},
			[]*corev1.PersistentVolume{volumeOn("v", "local", "1Gi", "a")},
			"0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind." + tail, nil},
		{"too little space", []*corev1.PersistentVolumeClaim{claimOf("c", "measured", "10Gi")}, nil, "0/2 nodes are available: 2 node(s) did not have enough free storage." + tail, nil},
		{"space on one node", []*corev1.PersistentVolumeClaim{claimOf("c", "measured", "1Gi")}, nil, "b", []string{"node b"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := world(node("a", zone("za")), node("b", zone("zb")))
			c.SetClass(storageClass("local", volume.NotSupportedProvisioner))
			c.SetClass(storageClass("dynamic", "example.com/p", "zb"))
			c.SetClass(storageClass("measured", "csi.example.com"))
			yes, size := true, resource.MustParse("5Gi")
			c.SetDriver(&storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "csi.example.com"}, Spec: storagev1.CSIDriverSpec{StorageCapacity: &yes}})
			c.SetCapacity(&storagev1.CSIStorageCapacity{ObjectMeta: metav1.ObjectMeta{Name: "x"}, StorageClassName: "measured", Capacity: &size,
				NodeTopology: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelTopologyZone: "zb"}}})
			p := pod("p")
			for _, claim := range tc.claims {
				c.SetClaim(claim)
				uses(claim.Name)(p)
			}
			for _, v := range tc.volumes {
				c.SetVolume(v)
			}
			if got := decide(c, p); got != tc.want {
				t.Fatalf("got  %s\nwant %s", got, tc.want)
			}
			if tc.taken == nil {
				return
			}
			reservations, status := framework.Reserve(Default(), c, snapshot.NewPod(p), tc.want)
			if status != nil || len(reservations) != 1 {
				t.Fatalf("reserving: %v, %d reservations", status, len(reservations))
			}
			if got := taken(reservations[0]); !slices.Equal(got, tc.taken) {
				t.Errorf("took %v, want %v", got, tc.taken)
			}
			if done, _, err := framework.Settled(reservations); done || err != nil {
				t.Errorf("settled before anything was bound: %v, %v", done, err)
			}
			framework.Release(reservations)
			if again, _ := framework.Reserve(Default(), c, snapshot.NewPod(p), tc.want); !slices.Equal(taken(again[0]), tc.taken) {
				t.Errorf("after a release it took %v", taken(again[0]))
			}
		})
	}
}

func taken(r *framework.Reservation) []string {
	var out []string
	for _, w := range r.Writes {
		switch o := w.Object.(type) {
		case *corev1.PersistentVolume:
			out = append(out, o.Name)
		case *corev1.PersistentVolumeClaim:
			out = append(out, "node "+o.Annotations[volume.AnnSelectedNode])
		}
	}
	slices.Sort(out)
	return out
}

// TestReservedVolume: two pods do not get one volume, and the pod is ready to be bound once its claim is.
func TestReservedVolume(t *testing.T) {
	c := world(node("a"))
	c.SetClass(storageClass("local", volume.NotSupportedProvisioner))
	c.SetVolume(volumeOn("v", "local", "1Gi", "a"))
	first, second := claimOf("first", "local", "1Gi"), claimOf("second", "local", "1Gi")
	c.SetClaim(first)
	c.SetClaim(second)
	p := snapshot.NewPod(pod("p", uses("first")))
	reservations, status := framework.Reserve(Default(), c, p, "a")
	if status != nil {
		t.Fatal(status)
	}
	c.SetVolume(volumeOn("v", "local", "1Gi", "a")) // told again of what it was: the assumption stands
	if got := decide(c, pod("q", uses("second"))); got == "a" {
		t.Fatal("another pod got the same volume")
	}
	bound := reservations[0].Writes[0].Object.(*corev1.PersistentVolume).DeepCopy()
	bound.ResourceVersion = "2"
	c.SetVolume(bound)
	if done, _, err := framework.Settled(reservations); done || err != nil {
		t.Fatalf("settled with the claim unbound: %v, %v", done, err)
	}
	claimed := first.DeepCopy()
	claimed.ResourceVersion, claimed.Spec.VolumeName, claimed.Annotations = "2", "v", map[string]string{volume.AnnBindCompleted: "yes"}
	c.SetClaim(claimed)
	if done, _, err := framework.Settled(reservations); !done || err != nil {
		t.Errorf("not settled with the claim bound: %v, %v", done, err)
	}
	c.RemoveVolume("v")
	c.SetVolume(volumeOn("v", "local", "1Gi", "a"))
	if _, _, err := framework.Settled(reservations); err == nil {
		t.Error("a volume that lost its claim is no error")
	}
}

func TestVolumeRules(t *testing.T) {
	iscsi := func(readOnly bool) podOption {
		return func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "d", VolumeSource: corev1.VolumeSource{ISCSI: &corev1.ISCSIVolumeSource{IQN: "iqn", ReadOnly: readOnly}}})
		}
	}
	c := world(node("a", zone("za")), node("b", zone("zb")), pod("x", on("a"), iscsi(true), uses("once"), uses("csi1"), priority(-1)))
	one := int32(1)
	c.SetCSINode(&storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{Name: "csi", Allocatable: &storagev1.VolumeNodeResources{Count: &one}}}}})
	for _, name := range []string{"once", "zoned", "csi1", "csi2"} {
		claim := claimOf(name, "", "1Gi")
		if name == "once" {
			claim.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}
		}
		claim.Spec.VolumeName, claim.Status.Phase = "v-"+name, corev1.ClaimBound
		c.SetClaim(claim)
		v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "v-" + name}}
		if name == "zoned" {
			v.Labels = map[string]string{corev1.LabelTopologyZone: "zb__zc"}
		}
		if name == "csi1" || name == "csi2" {
			v.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: "csi", VolumeHandle: name}
		}
		c.SetVolume(v)
	}
	for _, tc := range []struct {
		name string
		pod  *corev1.Pod
		want string
	}{
		{"a disk read twice", pod("p", iscsi(true), selects(corev1.LabelHostname+"=a")), "a"},
		{"a disk written", pod("p", iscsi(false)), "b"},
		{"one pod at a time, by preemption", pod("p", uses("once")), "a after x"},
		{"one pod at a time", pod("p", uses("once"), priority(-1)),
			"0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode. no new claims to deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."},
		{"zone of the volume", pod("p", uses("zoned")), "b"},
		{"no volume more", pod("p", uses("csi2")), "b"},
		{"the same volume again", pod("p", uses("csi1"), selects(corev1.LabelHostname+"=a")), "a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := decide(c, tc.pod); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}
