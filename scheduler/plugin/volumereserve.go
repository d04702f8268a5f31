package plugin

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/storage/volume"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// hasSpace tells whether a driver that publishes its capacity has room for a claim where the node is.
func hasSpace(c *snapshot.Cluster, n *snapshot.Node, claim *snapshot.Claim, class *storagev1.StorageClass) bool {
	driver := c.Driver(class.Provisioner)
	if driver == nil || driver.Spec.StorageCapacity == nil || !*driver.Spec.StorageCapacity {
		return true
	}
	size, asked := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if !asked {
		return true
	}
	for _, capacity := range c.Capacities() {
		limit := capacity.Capacity
		if capacity.MaximumVolumeSize != nil {
			limit = capacity.MaximumVolumeSize
		}
		if capacity.StorageClassName != class.Name || limit == nil || limit.Cmp(size) < 0 || capacity.NodeTopology == nil {
			continue
		}
		if s, err := metav1.LabelSelectorAsSelector(capacity.NodeTopology); err == nil && s.Matches(labelSet(n)) {
			return true
		}
	}
	return false
}

// binding is a claim, with the volume chosen for it or the node for which one is provisioned.
type binding struct {
	claim  string // namespace/name
	volume string
}

func reserveChoices(c *snapshot.Cluster, n *snapshot.Node, choices []choice) (*framework.Reservation, *framework.Status) {
	r := &framework.Reservation{}
	var undo []func()
	r.Release = func() {
		for _, f := range undo {
			f()
		}
	}
	var bindings []binding
	for _, ch := range choices {
		b := binding{claim: ch.claim.Namespace + "/" + ch.claim.Name}
		if ch.volume != nil {
			b.volume = ch.volume.Name
			bound, dirty, err := volume.GetBindVolumeToClaim(ch.volume, ch.claim.PersistentVolumeClaim)
			if err != nil {
				r.Release()
				return nil, framework.Never(err.Error())
			}
			if dirty {
				undo = append(undo, c.AssumeVolume(bound))
				r.Writes = append(r.Writes, framework.Write{Object: bound})
			}
		} else if ch.claim.Annotations[volume.AnnSelectedNode] != n.Name {
			selected := ch.claim.DeepCopy()
			metav1.SetMetaDataAnnotation(&selected.ObjectMeta, volume.AnnSelectedNode, n.Name)
			undo = append(undo, c.AssumeClaim(selected))
			r.Writes = append(r.Writes, framework.Write{Object: selected})
		}
		bindings = append(bindings, b)
	}
	r.Settled = func() (bool, error) { return settled(c, n.Name, bindings) }
	return r, nil
}

// settled tells whether claims have been bound as was chosen, or that they never will be.
func settled(c *snapshot.Cluster, node string, bindings []binding) (bool, error) {
	n := c.Node(node)
	if n == nil {
		return false, fmt.Errorf("node %q is gone", node)
	}
	done := true
	for _, b := range bindings {
		bound, err := b.settled(c, n)
		if err != nil {
			return false, err
		}
		done = done && bound
	}
	return done, nil
}

var errReset = errors.New("the choice of volumes was taken back")

func (b binding) settled(c *snapshot.Cluster, n *snapshot.Node) (bool, error) {
	claim := c.Claim(b.claim)
	if claim == nil || claim.DeletionTimestamp != nil {
		return false, fmt.Errorf("persistentvolumeclaim %q is gone", b.claim)
	}
	if b.volume == "" {
		if claim.Annotations[volume.AnnSelectedNode] != n.Name {
			return false, fmt.Errorf("provisioning failed for PVC %q", claim.Name)
		}
	} else {
		v := c.Volume(b.volume)
		if v == nil {
			return false, fmt.Errorf("persistentvolume %q is gone", b.volume)
		}
		if v.Spec.ClaimRef == nil || !volume.IsVolumeBoundToClaim(v.PersistentVolume, claim.PersistentVolumeClaim) {
			return false, fmt.Errorf("binding persistentvolume %q: %w", b.volume, errReset)
		}
	}
	if claim.Spec.VolumeName == "" {
		return false, nil
	}
	v := c.Volume(claim.Spec.VolumeName)
	if v == nil {
		return false, nil // the watch has yet to show it
	}
	if !v.Reaches(n) {
		return false, fmt.Errorf("pv %q node affinity doesn't match node %q", v.Name, n.Name)
	}
	return claim.IsBound(), nil
}
