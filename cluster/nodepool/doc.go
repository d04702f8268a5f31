// Package nodepool makes simulated nodes of the SimulatedNodePools of a cluster.
//
// It watches the pools, owns their status and, through package simulate, the Nodes named after them, and
// installs the custom resource definition where it is missing. A pool that cannot be made says why in its
// status; the others are made without it.
//
// Invariants: a pool that is deleted takes its nodes with it; nodes that were not made for a pool are left
// alone.
package nodepool
