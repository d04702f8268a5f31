// Package loadbalancer gives Services of type LoadBalancer their addresses, out
// of pools.
//
// It watches services, and owns status.loadBalancer and the finalizer
// service.kubernetes.io/load-balancer-cleanup of those of type LoadBalancer that
// name no load balancer class, or coracle.dev/pool. Packets are not its business:
// the Service proxy of every node answers at the addresses in the status.
//
// A Service gets one address for each of its address families of which there is
// a pool, or the one that spec.loadBalancerIP asks for. It keeps its address as
// long as it is of that type and the address is in a pool. The address is free
// again when the Service is gone or of another type.
//
// Invariants: no address is given to two Services; there is one worker, and what
// it has given and the cache does not show yet it remembers. Of two Services with
// the same address, whoever gave it to them, the older keeps it.
//
// Different from a cloud's controller: nothing announces the addresses outside
// of the nodes; who wants to reach them from elsewhere sends the pools' ranges
// to a node.
package loadbalancer
