// Package attachdetach has CSI volumes attached to the nodes whose pods use them,
// and detached when none does.
//
// It watches pods, nodes, VolumeAttachments, claims, volumes and CSIDrivers. A
// pod that is bound to a node and has not finished needs the CSI volumes of its
// claims there, save those of drivers that need no attaching. It owns the
// VolumeAttachments named after the hash of volume handle, driver and node, which
// the drivers' attachers act on, and status.volumesAttached of nodes.
//
// Invariants: a volume that may be written by one node alone is attached to a
// node only when no VolumeAttachment says that it is on another. A volume is
// detached once the node does not list it in status.volumesInUse; or is gone; or
// has the taint node.kubernetes.io/out-of-service; or is not ready and has listed
// it for six minutes since nobody needs it.
//
// Different from Kubernetes: it acts on events rather than every 100 ms, and a
// VolumeAttachment that someone else made is left alone.
package attachdetach
