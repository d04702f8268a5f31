// Package allocation hands out the addresses and ports of Services.
//
// An address is taken by the creation of the IPAddress object of its name, which succeeds for one taker
// only, whatever server asks; it is given back by the deletion of that object. Node ports are bits of one
// RangeAllocation record, which is compared and swapped; its place and form are Kubernetes', so that
// servers of both kinds can share it. What a crash left taken without a Service, or held by a Service
// without being taken, Repair mends.
//
// The lower part of each range is handed out last, and stays free for users who choose for themselves.
//
// Invariants: no address or port is handed out twice, however many servers hand out; a full range is an
// error that says so; a dry run takes nothing.
package allocation
