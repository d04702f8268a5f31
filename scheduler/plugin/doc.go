// Package plugin holds the rules of scheduling that Kubernetes has on by default, each a small pure function over a
// snapshot: NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodePorts, NodeResourcesFit,
// NodeResourcesBalancedAllocation, VolumeRestrictions, NodeVolumeLimits, VolumeBinding, VolumeZone, PodTopologySpread,
// InterPodAffinity, ImageLocality and SchedulingGates.
//
// Names, reasons, weights and formulas are those of kube-scheduler 1.37. Different: spreading and affinity count pods
// through snapshot.Counter and so do not look at all pods for each decision; volumes of the kinds that came before CSI are
// not taken for those of the CSI drivers that replaced them.
package plugin

import (
	"coracle.dev/coracle/scheduler/device"
	"coracle.dev/coracle/scheduler/framework"
)

// Default is the list of plugins, with that of package device, in the order of their filters.
func Default() []framework.Plugin {
	return []framework.Plugin{
		SchedulingGates(),
		NodeUnschedulable(),
		NodeName(),
		TaintToleration(),
		NodeAffinity(nil),
		NodePorts(),
		NodeResourcesFit(Fit{}),
		VolumeRestrictions(),
		NodeVolumeLimits(),
		VolumeBinding(),
		VolumeZone(),
		BalancedAllocation(nil),
		PodTopologySpread(nil),
		InterPodAffinity(Affinity{HardWeight: 1}),
		device.DynamicResources(),
		ImageLocality(),
	}
}
