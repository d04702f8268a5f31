package devicetaint

import (
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/resourceclaim"
)

// device names a device.
type device struct{ driver, pool, name string }

// devices are what a claim has been given, with what it tolerates of each.
func devices(c *resourcev1.ResourceClaim) map[device][]resourcev1.DeviceToleration {
	out := map[device][]resourcev1.DeviceToleration{}
	if c.Status.Allocation == nil {
		return out
	}
	for _, r := range c.Status.Allocation.Devices.Results {
		out[device{r.Driver, r.Pool, r.Device}] = r.Tolerations
	}
	return out
}

// evicting are the taints of a device that evict, by the newest generation of its
// pool.
func evicting(d device, slices []resourcev1.ResourceSlice) (out []resourcev1.DeviceTaint) {
	newest := int64(-1)
	for i := range slices {
		s := &slices[i].Spec
		if s.Driver != d.driver || s.Pool.Name != d.pool || s.Pool.Generation < newest {
			continue
		}
		if s.Pool.Generation > newest {
			newest, out = s.Pool.Generation, nil
		}
		for j := range s.Devices {
			if s.Devices[j].Name != d.name {
				continue
			}
			for _, t := range s.Devices[j].Taints {
				if t.Effect == resourcev1.DeviceTaintEffectNoExecute {
					out = append(out, t)
				}
			}
		}
	}
	return out
}

// deadline is when the pods of a claim must leave because of the taints of its
// devices, if ever. Taints that do not tell when they were added count from seen.
func deadline(c *resourcev1.ResourceClaim, slices []resourcev1.ResourceSlice, seen time.Time) (due time.Time, ever bool) {
	for d, tolerations := range devices(c) {
		for _, t := range evicting(d, slices) {
			start := seen
			if t.TimeAdded != nil {
				start = t.TimeAdded.Time
			}
			patience, forever := tolerated(t, tolerations)
			if forever {
				continue
			}
			if at := start.Add(patience); !ever || at.Before(due) {
				due, ever = at, true
			}
		}
	}
	return due, ever
}

// tolerated is for how long a taint is tolerated: the shortest time of the
// tolerations for it, or not at all.
func tolerated(t resourcev1.DeviceTaint, tolerations []resourcev1.DeviceToleration) (patience time.Duration, forever bool) {
	first := true
	for _, o := range tolerations {
		if !resourceclaim.ToleratesTaint(o, t) {
			continue
		}
		if o.TolerationSeconds == nil {
			if first {
				forever = true
			}
		} else if d := time.Duration(max(*o.TolerationSeconds, 0)) * time.Second; first || forever || d < patience {
			patience, forever = d, false
		}
		first = false
	}
	return patience, forever
}
