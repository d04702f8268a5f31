package localpath

import (
	"hash/fnv"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	volumehelper "k8s.io/component-helpers/storage/volume"
)

// Provisioner is the name by which storage classes choose this provisioner.
const Provisioner = "coracle.dev/local-path"

// NodeAnnotation names the node of a volume.
const NodeAnnotation = "coracle.dev/node"

// wanted tells whether a claim asks this provisioner for a volume.
func wanted(c *corev1.PersistentVolumeClaim) bool {
	return c.DeletionTimestamp == nil && c.Spec.VolumeName == "" && c.Annotations[volumehelper.AnnStorageProvisioner] == Provisioner
}

func waits(class *storagev1.StorageClass) bool {
	return class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

// choose picks the node of a claim that does not wait for a consumer.
func choose(nodes []corev1.Node, claim types.UID) *corev1.Node {
	var usable []*corev1.Node
	for i := range nodes {
		if n := &nodes[i]; !n.Spec.Unschedulable && n.DeletionTimestamp == nil && ready(n) {
			usable = append(usable, n)
		}
	}
	if len(usable) == 0 {
		return nil
	}
	slices.SortFunc(usable, func(a, b *corev1.Node) int { return strings.Compare(a.Name, b.Name) })
	h := fnv.New32a()
	h.Write([]byte(claim))
	return usable[h.Sum32()%uint32(len(usable))]
}

func ready(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// volumeName is the name of the volume that is made for a claim.
func volumeName(c *corev1.PersistentVolumeClaim) string { return "pvc-" + string(c.UID) }

// volume is what is made for a claim: a folder of a node, promised to it.
func volume(c *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, node *corev1.Node, path string) *corev1.PersistentVolume {
	policy := corev1.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		policy = *class.ReclaimPolicy
	}
	hostname := node.Labels[corev1.LabelHostname]
	if hostname == "" {
		hostname = node.Name
	}
	v := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        volumeName(c),
			Annotations: map[string]string{volumehelper.AnnDynamicallyProvisioned: Provisioner, NodeAnnotation: node.Name},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: c.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   c.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: policy,
			StorageClassName:              class.Name,
			VolumeAttributesClassName:     c.Spec.VolumeAttributesClassName,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: path}},
			ClaimRef: &corev1.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: c.Namespace, Name: c.Name, UID: c.UID, ResourceVersion: c.ResourceVersion,
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{hostname}}},
			}}}},
		},
	}
	if policy == corev1.PersistentVolumeReclaimDelete {
		v.Finalizers = []string{volumehelper.PVDeletionProtectionFinalizer}
	}
	return v
}

// fate is what is to become of a volume.
type fate int

const (
	keep    fate = iota
	guard        // add the finalizer
	unguard      // remove the finalizer
	remove       // remove the folder, then the volume
)

func decide(v *corev1.PersistentVolume) fate {
	guarded := slices.Contains(v.Finalizers, volumehelper.PVDeletionProtectionFinalizer)
	released := v.Status.Phase == corev1.VolumeReleased || v.Status.Phase == corev1.VolumeFailed
	switch deletes := v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete; {
	case deletes && released && (guarded || v.DeletionTimestamp == nil):
		return remove
	case deletes && !guarded && v.DeletionTimestamp == nil:
		return guard
	case !deletes && guarded:
		return unguard
	}
	return keep
}

// grows tells whether a claim asks for more than its volume has, or than the
// claim itself says that it has.
func grows(c *corev1.PersistentVolumeClaim) bool {
	requested, has := c.Spec.Resources.Requests[corev1.ResourceStorage], c.Status.Capacity[corev1.ResourceStorage]
	return c.DeletionTimestamp == nil && c.Status.Phase == corev1.ClaimBound && c.Spec.VolumeName != "" && requested.Cmp(has) > 0
}
