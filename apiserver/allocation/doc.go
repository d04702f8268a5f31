// Package allocation hands out the addresses and ports of Services.
//
// An address is taken by the creation of the IPAddress object of its name, which succeeds for one taker
// only, whatever server asks; it is given back by the deletion of that object. A port is taken in a map
// that is rebuilt from the Services at each start. What a crash left taken without a Service, or held by
// a Service without being taken, Repair mends.
//
// The lower part of each range is handed out last, and stays free for users who choose for themselves.
//
// Invariants: no address or port is handed out twice; a full range is an error that says so; a dry run
// takes nothing.
//
// Differences from Kubernetes: node ports are kept by each server for itself, so only one server at a
// time may serve writes of Services of type NodePort; addresses have no such limit.
package allocation
