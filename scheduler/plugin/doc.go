// Package plugin holds the rules of scheduling that Kubernetes has on by default, each a small pure function over a
// snapshot: NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodePorts, NodeResourcesFit,
// NodeResourcesBalancedAllocation, VolumeBinding, PodTopologySpread, InterPodAffinity, ImageLocality
// and SchedulingGates.
//
// Names, reasons, weights and formulas are those of kube-scheduler 1.37. Different: spreading and affinity count pods
// through snapshot.Counter and so do not look at all pods for each decision; VolumeBinding waits for claims to be bound
// and binds none itself.
package plugin

import "coracle.dev/coracle/scheduler/framework"

// Default is the list of plugins in the order of their filters.
func Default() []framework.Plugin {
	return []framework.Plugin{
		SchedulingGates(),
		NodeUnschedulable(),
		NodeName(),
		TaintToleration(),
		NodeAffinity(),
		NodePorts(),
		NodeResourcesFit(),
		VolumeBinding(),
		BalancedAllocation(),
		PodTopologySpread(),
		InterPodAffinity(),
		ImageLocality(),
	}
}
