package snapshot

import (
	resourcev1 "k8s.io/api/resource/v1"
)

// DeviceClaim is a ResourceClaim, as it is or as it is assumed to become.
type DeviceClaim struct {
	*resourcev1.ResourceClaim
	below *DeviceClaim // what it is without the newest assumption; several pods may reserve one claim
}

// devices are the objects that say which devices there are, and whose.
type devices struct {
	claims  map[string]*DeviceClaim // by namespace/name
	slices  map[string]*resourcev1.ResourceSlice
	classes map[string]*resourcev1.DeviceClass
}

func newDevices() devices {
	return devices{claims: map[string]*DeviceClaim{}, slices: map[string]*resourcev1.ResourceSlice{}, classes: map[string]*resourcev1.DeviceClass{}}
}

// SetDeviceClaim tells of a claim. An assumption about it ends, unless this is no newer than what it was made of.
func (c *Cluster) SetDeviceClaim(o *resourcev1.ResourceClaim) {
	key := o.Namespace + "/" + o.Name
	if have := c.devices.claims[key]; have != nil {
		if stale(o, have.ResourceClaim, have.below != nil) {
			return
		}
		if have.below != nil && have.Status.Allocation != nil && o.Status.Allocation == nil && o.UID == have.UID {
			have.rebase(o) // it got the finalizer that is written before the allocation
			return
		}
	}
	c.devices.claims[key] = &DeviceClaim{ResourceClaim: o}
}

// AssumeDeviceClaim takes a claim to be as it is about to be written. undo takes that back, unless news of it have come.
func (c *Cluster) AssumeDeviceClaim(o *resourcev1.ResourceClaim) (undo func()) {
	key := o.Namespace + "/" + o.Name
	was := c.devices.claims[key]
	if was == nil {
		return func() {}
	}
	assumed := &DeviceClaim{ResourceClaim: o, below: was}
	c.devices.claims[key] = assumed
	return func() {
		if c.devices.claims[key] == assumed {
			c.devices.claims[key] = assumed.below
			return
		}
		for d := c.devices.claims[key]; d != nil; d = d.below {
			if d.below == assumed {
				d.below = assumed.below
			}
		}
	}
}

// rebase makes o what assumptions are made of.
func (d *DeviceClaim) rebase(o *resourcev1.ResourceClaim) {
	for ; d.below != nil; d = d.below {
		d.ResourceClaim = d.DeepCopy()
		d.ResourceVersion = o.ResourceVersion
	}
	d.ResourceClaim = o
}

// RemoveDeviceClaim forgets a claim.
func (c *Cluster) RemoveDeviceClaim(namespace, name string) {
	delete(c.devices.claims, namespace+"/"+name)
}

// DeviceClaim finds a claim by namespace/name, or is nil.
func (c *Cluster) DeviceClaim(key string) *DeviceClaim { return c.devices.claims[key] }

// DeviceClaims are all claims, by namespace/name. The map belongs to the cluster.
func (c *Cluster) DeviceClaims() map[string]*DeviceClaim { return c.devices.claims }

// SetSlice tells of devices.
func (c *Cluster) SetSlice(o *resourcev1.ResourceSlice) { c.devices.slices[o.Name] = o }

// RemoveSlice forgets devices.
func (c *Cluster) RemoveSlice(name string) { delete(c.devices.slices, name) }

// Slices are all there are, by name. The map belongs to the cluster.
func (c *Cluster) Slices() map[string]*resourcev1.ResourceSlice { return c.devices.slices }

// SetDeviceClass tells of a class of devices.
func (c *Cluster) SetDeviceClass(o *resourcev1.DeviceClass) { c.devices.classes[o.Name] = o }

// RemoveDeviceClass forgets a class of devices.
func (c *Cluster) RemoveDeviceClass(name string) { delete(c.devices.classes, name) }

// DeviceClasses are all there are, by name. The map belongs to the cluster.
func (c *Cluster) DeviceClasses() map[string]*resourcev1.DeviceClass { return c.devices.classes }
