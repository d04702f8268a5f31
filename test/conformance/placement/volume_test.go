package placement

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// firstConsumer: a volume that only node-3 reaches draws the pod there, though it would rather be elsewhere, and is bound
// to the claim when the pod has been placed.
func firstConsumer(n in) {
	ctx := n.t.Context()
	mode := storagev1.VolumeBindingWaitForFirstConsumer
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: n.ns}, Provisioner: "kubernetes.io/no-provisioner", VolumeBindingMode: &mode}
	if _, err := n.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
		n.t.Fatal(err)
	}
	access := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
		StorageClassName: &n.ns, AccessModes: access, Resources: corev1.VolumeResourceRequirements{Requests: quantities("storage=1Gi")}}}
	if _, err := n.CoreV1().PersistentVolumeClaims(n.ns).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		n.t.Fatal(err)
	}
	n.create(pod("p", func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
	}))
	n.refused("p", "0/6 nodes are available: 1 node(s) had untolerated taint(s), 5 node(s) didn't find available persistent volumes to bind.")
	terms := []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{"node-3"}}}}}
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: n.ns}, Spec: corev1.PersistentVolumeSpec{
		StorageClassName: n.ns, AccessModes: access, Capacity: quantities("storage=2Gi"), PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/nowhere"}},
		NodeAffinity:           &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: terms}}}}
	if _, err := n.CoreV1().PersistentVolumes().Create(ctx, v, metav1.CreateOptions{}); err != nil {
		n.t.Fatal(err)
	}
	if p := n.runs("p"); p.Spec.NodeName != "node-3" {
		n.t.Errorf("the pod went to %s, away from its volume", p.Spec.NodeName)
	}
	n.eventually("the claim is bound", func(ctx context.Context) error {
		c, err := n.CoreV1().PersistentVolumeClaims(n.ns).Get(ctx, "data", metav1.GetOptions{})
		if err == nil && (c.Status.Phase != corev1.ClaimBound || c.Spec.VolumeName != n.ns) {
			err = fmt.Errorf("it is %s, with volume %q", c.Status.Phase, c.Spec.VolumeName)
		}
		return err
	})
}
