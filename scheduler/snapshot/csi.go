package snapshot

import storagev1 "k8s.io/api/storage/v1"

// SetDriver tells of a CSI driver.
func (c *Cluster) SetDriver(o *storagev1.CSIDriver) { c.volumes.drivers[o.Name] = o }

// RemoveDriver forgets a CSI driver.
func (c *Cluster) RemoveDriver(name string) { delete(c.volumes.drivers, name) }

// Driver finds a CSI driver, or is nil.
func (c *Cluster) Driver(name string) *storagev1.CSIDriver { return c.volumes.drivers[name] }

// SetCSINode tells which drivers a node has.
func (c *Cluster) SetCSINode(o *storagev1.CSINode) { c.volumes.nodes[o.Name] = o }

// RemoveCSINode forgets a node's drivers.
func (c *Cluster) RemoveCSINode(name string) { delete(c.volumes.nodes, name) }

// CSINode finds the drivers of a node, or is nil.
func (c *Cluster) CSINode(name string) *storagev1.CSINode { return c.volumes.nodes[name] }

// SetCapacity tells how much room a driver has somewhere.
func (c *Cluster) SetCapacity(o *storagev1.CSIStorageCapacity) {
	c.volumes.capacities[o.Namespace+"/"+o.Name] = o
}

// RemoveCapacity forgets a room.
func (c *Cluster) RemoveCapacity(namespace, name string) {
	delete(c.volumes.capacities, namespace+"/"+name)
}

// Capacities are the rooms of drivers, by namespace/name. The map belongs to the cluster.
func (c *Cluster) Capacities() map[string]*storagev1.CSIStorageCapacity { return c.volumes.capacities }

// SetAttachment tells that a volume is, or is to be, attached to a node.
func (c *Cluster) SetAttachment(o *storagev1.VolumeAttachment) {
	on := c.volumes.attached[o.Spec.NodeName]
	if on == nil {
		on = map[string]*storagev1.VolumeAttachment{}
		c.volumes.attached[o.Spec.NodeName] = on
	}
	on[o.Name] = o
}

// RemoveAttachment forgets an attachment.
func (c *Cluster) RemoveAttachment(o *storagev1.VolumeAttachment) {
	on := c.volumes.attached[o.Spec.NodeName]
	if delete(on, o.Name); len(on) == 0 {
		delete(c.volumes.attached, o.Spec.NodeName)
	}
}

// Attachments are those of a node, by name. The map belongs to the cluster.
func (c *Cluster) Attachments(node string) map[string]*storagev1.VolumeAttachment {
	return c.volumes.attached[node]
}
