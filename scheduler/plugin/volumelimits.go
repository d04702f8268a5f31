package plugin

import (
	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

const reasonVolumeLimit = "node(s) exceed max volume count"

// NodeVolumeLimits keeps the number of volumes of a CSI driver on a node within what the driver says in the CSINode.
// Volumes that are attached count, and those of the node's pods whether attached yet or not.
func NodeVolumeLimits() framework.Plugin {
	return framework.Plugin{
		Name: "NodeVolumeLimits", Filter: filterVolumeLimits,
		Wakes: framework.NodeAdded | framework.PodRemoved | framework.ClaimChanged | framework.VolumeChanged,
		Hint: func(_ *snapshot.Cluster, _ *snapshot.Pod, change framework.Change) bool {
			return change.Event != framework.PodRemoved || change.Pod == nil || mayUseCSI(change.Pod)
		},
	}
}

func mayUseCSI(p *snapshot.Pod) bool { return len(p.Claims) > 0 }

// csiVolumes are volumes by driver and handle.
type csiVolumes map[string]map[string]bool

func (v csiVolumes) add(driver, handle string) {
	if v[driver] == nil {
		v[driver] = map[string]bool{}
	}
	v[driver][handle] = true
}

// addPod adds the volumes that a pod needs attached. A claim without a volume counts as one of its class's driver.
func (v csiVolumes) addPod(c *snapshot.Cluster, p *snapshot.Pod) {
	for _, key := range p.Claims {
		claim := c.Claim(key)
		if claim == nil {
			continue
		}
		if pv := c.Volume(claim.Spec.VolumeName); pv != nil {
			if csi := pv.Spec.CSI; csi != nil {
				v.add(csi.Driver, csi.VolumeHandle)
			}
		} else if class := c.Class(claim.Class); class != nil {
			v.add(class.Provisioner, "claim "+key)
		}
	}
}

func filterVolumeLimits(c *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
	if !mayUseCSI(p) {
		return nil, nil
	}
	wanted := csiVolumes{}
	wanted.addPod(c, p)
	if len(wanted) == 0 {
		return nil, nil
	}
	return func(n *snapshot.Node) *framework.Status {
		limits := volumeLimits(c, n.Name)
		if len(limits) == 0 {
			return nil
		}
		there := volumesOn(c, n)
		for driver, handles := range wanted {
			limit, limited := limits[driver]
			if !limited {
				continue
			}
			more := 0
			for handle := range handles {
				if !there[driver][handle] {
					more++
				}
			}
			if more > 0 && len(there[driver])+more > limit {
				return framework.Unfit(reasonVolumeLimit)
			}
		}
		return nil
	}, nil
}

func volumeLimits(c *snapshot.Cluster, node string) map[string]int {
	drivers := c.CSINode(node)
	if drivers == nil {
		return nil
	}
	out := map[string]int{}
	for _, d := range drivers.Spec.Drivers {
		if d.Allocatable != nil && d.Allocatable.Count != nil {
			out[d.Name] = int(*d.Allocatable.Count)
		}
	}
	return out
}

func volumesOn(c *snapshot.Cluster, n *snapshot.Node) csiVolumes {
	there := csiVolumes{}
	for _, other := range n.Pods {
		if mayUseCSI(other) {
			there.addPod(c, other)
		}
	}
	for _, a := range c.Attachments(n.Name) {
		var source *corev1.CSIPersistentVolumeSource
		if name := a.Spec.Source.PersistentVolumeName; name != nil {
			if v := c.Volume(*name); v != nil {
				source = v.Spec.CSI
			}
		}
		if source != nil {
			there.add(source.Driver, source.VolumeHandle)
		}
	}
	return there
}
