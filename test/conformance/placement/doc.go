// Package placement tests where pods go, and when they must leave, in clusters of simulated nodes: the conformance
// requirements of sig-scheduling, the rules of placement, draining with kubectl, and the loss of nodes.
//
// Tests only. Each subtest has a namespace, and nodes that it alone uses, so that they run beside each other.
package placement
