package snapshot

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/component-helpers/storage/volume"
)

// Claim is a PersistentVolumeClaim, as it is or as it is assumed to become.
type Claim struct {
	*corev1.PersistentVolumeClaim
	Class string
	was   *corev1.PersistentVolumeClaim // what the API said, while this is an assumption
}

// OwnedBy tells whether the claim was made for a pod.
func (c *Claim) OwnedBy(p *Pod) bool { return metav1.IsControlledBy(c.PersistentVolumeClaim, p.Pod) }

// IsBound tells whether the binding of the claim is done.
func (c *Claim) IsBound() bool {
	_, done := c.Annotations[volume.AnnBindCompleted]
	return c.Spec.VolumeName != "" && (done || c.Status.Phase == corev1.ClaimBound)
}

// Volume is a PersistentVolume, as it is or as it is assumed to become.
type Volume struct {
	*corev1.PersistentVolume
	Class string
	Nodes *nodeaffinity.NodeSelector // those that reach it; nil is all
	was   *corev1.PersistentVolume
}

// Reaches tells whether a node can use the volume.
func (v *Volume) Reaches(n *Node) bool { return v.Nodes == nil || v.Nodes.Match(n.Node) }

// volumes are the storage objects of a cluster.
type volumes struct {
	claims     map[string]*Claim // by namespace/name
	volumes    map[string]*Volume
	byClass    map[string]map[string]*Volume // by class and name
	classes    map[string]*storagev1.StorageClass
	drivers    map[string]*storagev1.CSIDriver
	nodes      map[string]*storagev1.CSINode
	capacities map[string]*storagev1.CSIStorageCapacity // by namespace/name
	attached   map[string]map[string]*storagev1.VolumeAttachment
	users      map[string]int // placed pods by claim
}

func newVolumes() volumes {
	return volumes{
		claims: map[string]*Claim{}, volumes: map[string]*Volume{}, byClass: map[string]map[string]*Volume{},
		classes: map[string]*storagev1.StorageClass{}, drivers: map[string]*storagev1.CSIDriver{},
		nodes: map[string]*storagev1.CSINode{}, capacities: map[string]*storagev1.CSIStorageCapacity{},
		attached: map[string]map[string]*storagev1.VolumeAttachment{}, users: map[string]int{},
	}
}

// SetClaim tells of a claim. An assumption about it ends, unless this is no newer than what the assumption was made of.
func (c *Cluster) SetClaim(o *corev1.PersistentVolumeClaim) {
	key := o.Namespace + "/" + o.Name
	if have := c.volumes.claims[key]; have != nil && stale(o, have.PersistentVolumeClaim, have.was != nil) {
		return
	}
	c.volumes.claims[key] = &Claim{PersistentVolumeClaim: o, Class: volume.GetPersistentVolumeClaimClass(o)}
}

// stale tells whether an object is older than what is known of it, or, if that is an assumption, is no newer. An
// assumption has the version of what it was made of.
func stale(o, known metav1.Object, assumed bool) bool {
	if o.GetUID() != known.GetUID() {
		return false
	}
	version, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return false
	}
	than, err := strconv.ParseUint(known.GetResourceVersion(), 10, 64)
	return err == nil && (version < than || assumed && version == than)
}

// AssumeClaim takes a claim to be as it is about to be written. undo takes that back, unless news of it have come.
func (c *Cluster) AssumeClaim(o *corev1.PersistentVolumeClaim) (undo func()) {
	key := o.Namespace + "/" + o.Name
	was := c.volumes.claims[key]
	if was == nil {
		return func() {}
	}
	assumed := &Claim{PersistentVolumeClaim: o, Class: was.Class, was: was.PersistentVolumeClaim}
	c.volumes.claims[key] = assumed
	return func() {
		if c.volumes.claims[key] == assumed {
			c.volumes.claims[key] = was
		}
	}
}

// RemoveClaim forgets a claim.
func (c *Cluster) RemoveClaim(namespace, name string) { delete(c.volumes.claims, namespace+"/"+name) }

// Claim finds a claim by namespace/name, or is nil.
func (c *Cluster) Claim(key string) *Claim { return c.volumes.claims[key] }

// ClaimUsers is how many pods on nodes use a claim.
func (c *Cluster) ClaimUsers(key string) int { return c.volumes.users[key] }

func (c *Cluster) countClaims(p *Pod, sign int) {
	for _, key := range p.Claims {
		if c.volumes.users[key] += sign; c.volumes.users[key] == 0 {
			delete(c.volumes.users, key)
		}
	}
}

// SetVolume tells of a volume.
func (c *Cluster) SetVolume(o *corev1.PersistentVolume) {
	if have := c.volumes.volumes[o.Name]; have != nil && stale(o, have.PersistentVolume, have.was != nil) {
		return
	}
	v := &Volume{PersistentVolume: o, Class: volume.GetPersistentVolumeClass(o)}
	if o.Spec.NodeAffinity != nil && o.Spec.NodeAffinity.Required != nil {
		v.Nodes, _ = nodeaffinity.NewNodeSelector(o.Spec.NodeAffinity.Required)
		if v.Nodes == nil { // one that is not valid matches no node
			v.Nodes, _ = nodeaffinity.NewNodeSelector(&corev1.NodeSelector{})
		}
	}
	c.putVolume(v)
}

func (c *Cluster) putVolume(v *Volume) {
	c.RemoveVolume(v.Name)
	c.volumes.volumes[v.Name] = v
	if c.volumes.byClass[v.Class] == nil {
		c.volumes.byClass[v.Class] = map[string]*Volume{}
	}
	c.volumes.byClass[v.Class][v.Name] = v
}

// AssumeVolume takes a volume to be as it is about to be written. undo takes that back, unless news of it have come.
func (c *Cluster) AssumeVolume(o *corev1.PersistentVolume) (undo func()) {
	was := c.volumes.volumes[o.Name]
	if was == nil {
		return func() {}
	}
	assumed := &Volume{PersistentVolume: o, Class: was.Class, Nodes: was.Nodes, was: was.PersistentVolume}
	c.putVolume(assumed)
	return func() {
		if c.volumes.volumes[o.Name] == assumed {
			c.putVolume(was)
		}
	}
}

// RemoveVolume forgets a volume.
func (c *Cluster) RemoveVolume(name string) {
	if have := c.volumes.volumes[name]; have != nil {
		delete(c.volumes.volumes, name)
		delete(c.volumes.byClass[have.Class], name)
	}
}

// Volume finds a volume, or is nil.
func (c *Cluster) Volume(name string) *Volume { return c.volumes.volumes[name] }

// VolumesOf are the volumes of a class, by name. The map belongs to the cluster.
func (c *Cluster) VolumesOf(class string) map[string]*Volume { return c.volumes.byClass[class] }

// SetClass tells of a storage class.
func (c *Cluster) SetClass(o *storagev1.StorageClass) { c.volumes.classes[o.Name] = o }

// RemoveClass forgets a storage class.
func (c *Cluster) RemoveClass(name string) { delete(c.volumes.classes, name) }

// Class finds a storage class, or is nil.
func (c *Cluster) Class(name string) *storagev1.StorageClass { return c.volumes.classes[name] }
