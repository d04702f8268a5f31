package plugin

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

const (
	reasonOncePod = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
	reasonDisk    = "node(s) had no available disk"
	reasonZone    = "node(s) had no available volume zone"
)

func labelSet(n *snapshot.Node) labels.Set { return n.Labels }

// VolumeRestrictions keeps pods apart that cannot share a volume: by its access mode ReadWriteOncePod, or since it is
// a disk that one of them writes.
func VolumeRestrictions() framework.Plugin {
	return framework.Plugin{
		Name: "VolumeRestrictions", Filter: filterRestrictions,
		Wakes: framework.NodeAdded | framework.PodRemoved | framework.ClaimChanged,
		Hint: func(_ *snapshot.Cluster, p *snapshot.Pod, change framework.Change) bool {
			switch {
			case change.Claim != "":
				return slices.Contains(p.Claims, change.Claim)
			case change.Event == framework.PodRemoved && change.Pod != nil:
				return slices.ContainsFunc(change.Pod.Claims, func(key string) bool { return slices.Contains(p.Claims, key) }) ||
					disksConflict(p.Spec.Volumes, change.Pod.Spec.Volumes)
			}
			return true
		},
	}
}

func filterRestrictions(c *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
	taken := false
	for _, key := range p.Claims {
		if claim := c.Claim(key); claim != nil && slices.Contains(claim.Spec.AccessModes, corev1.ReadWriteOncePod) && c.ClaimUsers(key) > 0 {
			taken = true
		}
	}
	disks := slices.ContainsFunc(p.Spec.Volumes, isDisk)
	if !taken && !disks {
		return nil, nil
	}
	return func(n *snapshot.Node) *framework.Status {
		if disks {
			for _, other := range n.Pods {
				if disksConflict(p.Spec.Volumes, other.Spec.Volumes) {
					return framework.Unfit(reasonDisk)
				}
			}
		}
		if taken {
			return framework.Unfit(reasonOncePod)
		}
		return nil
	}, nil
}

func isDisk(v corev1.Volume) bool {
	return v.GCEPersistentDisk != nil || v.AWSElasticBlockStore != nil || v.ISCSI != nil || v.RBD != nil
}

func disksConflict(a, b []corev1.Volume) bool {
	for i := range a {
		if isDisk(a[i]) && slices.ContainsFunc(b, func(v corev1.Volume) bool { return diskConflicts(&a[i], &v) }) {
			return true
		}
	}
	return false
}

func diskConflicts(a, b *corev1.Volume) bool {
	switch {
	case a.GCEPersistentDisk != nil && b.GCEPersistentDisk != nil:
		x, y := a.GCEPersistentDisk, b.GCEPersistentDisk
		return x.PDName == y.PDName && !(x.ReadOnly && y.ReadOnly)
	case a.AWSElasticBlockStore != nil && b.AWSElasticBlockStore != nil:
		return a.AWSElasticBlockStore.VolumeID == b.AWSElasticBlockStore.VolumeID
	case a.ISCSI != nil && b.ISCSI != nil:
		return a.ISCSI.IQN == b.ISCSI.IQN && !(a.ISCSI.ReadOnly && b.ISCSI.ReadOnly)
	case a.RBD != nil && b.RBD != nil:
		x, y := a.RBD, b.RBD
		shared := slices.ContainsFunc(x.CephMonitors, func(m string) bool { return slices.Contains(y.CephMonitors, m) })
		return shared && x.RBDPool == y.RBDPool && x.RBDImage == y.RBDImage && !(x.ReadOnly && y.ReadOnly)
	}
	return false
}

// zoneLabels are what volumes and nodes carry to tell where they are.
var zoneLabels = []string{
	corev1.LabelTopologyZone, corev1.LabelTopologyRegion, corev1.LabelFailureDomainBetaZone, corev1.LabelFailureDomainBetaRegion,
}

// VolumeZone keeps a pod to the zone and region of its volumes, for volumes that tell them by labels.
func VolumeZone() framework.Plugin {
	return framework.Plugin{
		Name: "VolumeZone", Filter: filterZone,
		Wakes: framework.ClaimChanged | framework.VolumeChanged | framework.NodeAdded | framework.NodeLabels,
		Hint: func(_ *snapshot.Cluster, p *snapshot.Pod, change framework.Change) bool {
			return change.Event != framework.ClaimChanged || slices.Contains(p.Claims, change.Claim)
		},
	}
}

func filterZone(c *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
	type demand struct {
		key    string
		values []string
	}
	var demands []demand
	for _, key := range p.Claims {
		claim := c.Claim(key)
		if claim == nil || claim.Spec.VolumeName == "" {
			continue
		}
		v := c.Volume(claim.Spec.VolumeName)
		if v == nil {
			continue
		}
		for _, label := range zoneLabels {
			if value, has := v.Labels[label]; has {
				demands = append(demands, demand{label, strings.Split(value, "__")})
			}
		}
	}
	if len(demands) == 0 {
		return nil, nil
	}
	return func(n *snapshot.Node) *framework.Status {
		for _, d := range demands {
			value, has := n.Labels[d.key]
			if !has {
				value, has = n.Labels[otherName(d.key)]
			}
			if !has && !slices.ContainsFunc(zoneLabels, func(l string) bool { _, has := n.Labels[l]; return has }) {
				continue // a node that tells no place, as where there is but one
			}
			if !has || !slices.Contains(d.values, value) {
				return framework.Never(reasonZone)
			}
		}
		return nil
	}, nil
}

// otherName is the older or newer name of a label of place.
func otherName(key string) string {
	switch key {
	case corev1.LabelTopologyZone:
		return corev1.LabelFailureDomainBetaZone
	case corev1.LabelTopologyRegion:
		return corev1.LabelFailureDomainBetaRegion
	case corev1.LabelFailureDomainBetaZone:
		return corev1.LabelTopologyZone
	default:
		return corev1.LabelTopologyRegion
	}
}
