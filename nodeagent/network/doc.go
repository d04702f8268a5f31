// Package network gives pods their network on one node: an address each, a
// link to the host, and the rules that carry their packets.
//
// # How packets travel
//
// Every pod is routed, not bridged. Its eth0 is one end of a veth pair; it has
// a /32 address, a permanent neighbour entry for the gateway and a default
// route through it. The host has a /32 route for the pod through the other end.
// The gateway address lives on a device of its own (Config.Interface), which
// carries no pod: it is there to hold the address and to give local programs a
// route to the service range.
//
// The alternative is a bridge with all pods on it. There, what one pod sends to
// another through a Service is rewritten in the host, while the answer crosses
// the bridge directly and is never rewritten back, unless br_netfilter is
// loaded; and where it is loaded, it forwards rewritten frames by itself,
// around any isolation of ports. With routes, both directions of every flow
// pass the host's conntrack, with or without br_netfilter, a pod keeps its
// source address towards pods and Services, a pod reaches itself through a
// Service, and no ARP is needed at all.
//
// # What it owns
//
//   - the device Config.Interface, and every link whose name starts with the
//     cluster's link prefix;
//   - the routes with protocol number 200 for the ranges. The ranges of pods,
//     services and load balancers end in an unreachable route with a high
//     metric, so that nothing for them leaves by a real interface and a
//     connection to an address that is gone fails at once;
//   - the nftables table ip coracle-net-<cluster>: masquerade of what pods send
//     out of the cluster, host ports, and guards;
//   - two rules in the chain FORWARD of the table ip filter, if Docker or an
//     iptables user has made it, so that its policy does not cut pods off;
//   - Config.StateDir, which has one file per allocated address;
//   - /proc/sys/net/ipv4/ip_forward is set to 1 and left so by Teardown, since
//     others on the machine may have come to rely on it.
//
// # Invariants
//
// An address has one owner, the pair of sandbox and interface. The file is
// there before the link is made and goes after the link is gone, so a crash at
// any point leaves at most a file without a link, which New removes. Files are
// not synced to disk: an address outlives the process, but not the kernel.
//
// # Differences from Kubernetes
//
// Pods see a /32 address rather than the node's range. Host ports answer on
// 127.0.0.1 as well. Only IPv4 is served; types are netip's, so that a second
// family needs no new interface.
package network
