package snapshot

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// bindCompleted is the annotation of claims whose binding is done.
const bindCompleted = "pv.kubernetes.io/bind-completed"

// Claim is what decisions need of a PersistentVolumeClaim.
type Claim struct {
	Volume   string // empty unless it is bound
	Waits    bool   // is bound only once a pod uses it
	Deleting bool
	class    string
	owner    *metav1.OwnerReference
}

// OwnedBy tells whether the claim was made for a pod.
func (c *Claim) OwnedBy(p *Pod) bool { return c.owner != nil && c.owner.UID == p.UID }

// volumes are the claims, volumes and classes of a cluster.
type volumes struct {
	claims   map[string]Claim // by namespace/name
	affinity map[string]*nodeaffinity.NodeSelector
	waits    map[string]bool // classes that wait for the first consumer
}

func newVolumes() volumes {
	return volumes{claims: map[string]Claim{}, affinity: map[string]*nodeaffinity.NodeSelector{}, waits: map[string]bool{}}
}

// SetClaim tells of a claim.
func (c *Cluster) SetClaim(o *corev1.PersistentVolumeClaim) {
	claim := Claim{Deleting: o.DeletionTimestamp != nil, owner: metav1.GetControllerOf(o)}
	if o.Spec.StorageClassName != nil {
		claim.class = *o.Spec.StorageClassName
	}
	if _, done := o.Annotations[bindCompleted]; done || o.Status.Phase == corev1.ClaimBound {
		claim.Volume = o.Spec.VolumeName
	}
	c.volumes.claims[o.Namespace+"/"+o.Name] = claim
}

// RemoveClaim forgets a claim.
func (c *Cluster) RemoveClaim(namespace, name string) { delete(c.volumes.claims, namespace+"/"+name) }

// Claim finds a claim.
func (c *Cluster) Claim(namespace, name string) (claim Claim, found bool) {
	claim, found = c.volumes.claims[namespace+"/"+name]
	claim.Waits = c.volumes.waits[claim.class]
	return claim, found
}

// SetVolume tells of a volume.
func (c *Cluster) SetVolume(o *corev1.PersistentVolume) {
	var selector *nodeaffinity.NodeSelector
	if o.Spec.NodeAffinity != nil && o.Spec.NodeAffinity.Required != nil {
		selector, _ = nodeaffinity.NewNodeSelector(o.Spec.NodeAffinity.Required) // one that is not valid binds to no node
		if selector == nil {
			selector, _ = nodeaffinity.NewNodeSelector(&corev1.NodeSelector{})
		}
	}
	c.volumes.affinity[o.Name] = selector
}

// RemoveVolume forgets a volume.
func (c *Cluster) RemoveVolume(name string) { delete(c.volumes.affinity, name) }

// Volume finds the nodes to which a volume is bound; nil is all.
func (c *Cluster) Volume(name string) (nodes *nodeaffinity.NodeSelector, found bool) {
	nodes, found = c.volumes.affinity[name]
	return nodes, found
}

// SetClass tells of a storage class.
func (c *Cluster) SetClass(o *storagev1.StorageClass) {
	c.volumes.waits[o.Name] = o.VolumeBindingMode != nil && *o.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

// RemoveClass forgets a storage class.
func (c *Cluster) RemoveClass(name string) { delete(c.volumes.waits, name) }
