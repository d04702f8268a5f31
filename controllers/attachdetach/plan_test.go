package attachdetach

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func volume(name string, modes ...corev1.PersistentVolumeAccessMode) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{AccessModes: modes,
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "d", VolumeHandle: "handle-" + name}}}}
}

func TestDecide(t *testing.T) {
	now := time.Unix(10000, 0)
	v, many := volume("v", corev1.ReadWriteOnce), volume("many", corev1.ReadWriteMany)
	on := func(v *corev1.PersistentVolume, node string, attached bool) storagev1.VolumeAttachment {
		return storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: attachmentName(v, node)}, Status: storagev1.VolumeAttachmentStatus{Attached: attached},
			Spec: storagev1.VolumeAttachmentSpec{NodeName: node, Attacher: "d", Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &v.Name}}}
	}
	node := func(isReady bool, inUse ...corev1.UniqueVolumeName) *corev1.Node {
		n := &corev1.Node{Status: corev1.NodeStatus{VolumesInUse: inUse}}
		if isReady {
			n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		}
		return n
	}
	tainted := node(true, uniqueName(v))
	tainted.Spec.Taints = []corev1.Taint{{Key: outOfService}}
	type attachments = []storagev1.VolumeAttachment
	type volumes = []*corev1.PersistentVolume
	long, short := map[string]time.Time{attachmentName(v, "n"): now.Add(-6 * time.Minute)}, map[string]time.Time{attachmentName(v, "n"): now.Add(-time.Minute)}
	foreign := on(v, "n", true)
	foreign.Name = "by-hand"
	for name, tc := range map[string]struct {
		node           *corev1.Node
		needed         volumes
		attachments    attachments
		unneeded       map[string]time.Time
		attach, detach int
		blocked        int
		attached       []corev1.AttachedVolume
		again          time.Time
	}{
		"needed":                                {node: node(true), needed: volumes{v, many}, attach: 2},
		"asked for":                             {node: node(true), needed: volumes{v}, attachments: attachments{on(v, "n", false)}},
		"attached":                              {node: node(true), needed: volumes{v}, attachments: attachments{on(v, "n", true)}, attached: []corev1.AttachedVolume{{Name: "kubernetes.io/csi/d^handle-v"}}},
		"on another node":                       {node: node(true), needed: volumes{v}, attachments: attachments{on(v, "m", false)}, blocked: 1},
		"on another node too":                   {node: node(true), needed: volumes{many}, attachments: attachments{on(many, "m", true)}, attach: 1},
		"needed by pods of a node that is gone": {needed: volumes{v}},
		"of a node that is gone":                {attachments: attachments{on(v, "n", false)}, detach: 1},
		"not needed":                            {node: node(true), attachments: attachments{on(v, "n", false)}, detach: 1},
		"not needed, but mounted":               {node: node(true, uniqueName(v)), attachments: attachments{on(v, "n", false)}, again: now.Add(6 * time.Minute)},
		"mounted for long on a node that runs":  {node: node(true, uniqueName(v)), attachments: attachments{on(v, "n", false)}, unneeded: long},
		"mounted for long on one that does not": {node: node(false, uniqueName(v)), attachments: attachments{on(v, "n", false)}, unneeded: long, detach: 1},
		"mounted for a while":                   {node: node(false, uniqueName(v)), attachments: attachments{on(v, "n", false)}, unneeded: short, again: now.Add(5 * time.Minute)},
		"of a node out of service":              {node: tainted, attachments: attachments{on(v, "n", false)}, detach: 1},
		"attached by somebody else":             {node: node(true), attachments: attachments{foreign}, attached: []corev1.AttachedVolume{{Name: "kubernetes.io/csi/d^handle-v"}}},
	} {
		got := decide(observed{name: "n", node: tc.node, needed: tc.needed, attachments: tc.attachments, unneeded: tc.unneeded,
			volumes: map[string]*corev1.PersistentVolume{"v": v, "many": many}}, now)
		if len(got.attach) != tc.attach || len(got.detach) != tc.detach || len(got.blocked) != tc.blocked || !got.again.Equal(tc.again) {
			t.Errorf("a volume %s: attach %d, detach %d, blocked %d, again %v", name, len(got.attach), len(got.detach), len(got.blocked), got.again)
		}
		if d := cmp.Diff(tc.attached, got.attached); d != "" {
			t.Errorf("a volume %s: attached (-want +got):\n%s", name, d)
		}
	}
}
