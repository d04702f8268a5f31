// Package proxy makes Services reachable on one node, by nftables.
//
// It watches Services and EndpointSlices through the Kubernetes API and keeps
// the table ip coracle-proxy-<cluster>. Every address, protocol and port that a
// Service answers at is one element of a verdict map, which leads to a chain
// that picks an endpoint at random, which leads to the endpoint's chain, which
// rewrites the destination. The cost of a packet so does not grow with the
// number of Services, and the cost of a change is that of the chains and
// elements that change: they go into one transaction.
//
// # How it works
//
//   - plan.go is pure: a Service and its slices become a fragment, all
//     fragments a ruleset. Where two Services claim the same address and port,
//     the first by name has it.
//   - ruleset.go compares two rulesets and writes the difference.
//   - table.go owns the kernel's table. The first write compares with nothing:
//     it replaces whatever is there, in one transaction, but keeps the sets that
//     hold session affinity. So it is after an error, and when a check once a
//     minute finds that somebody else has changed the table.
//   - proxy.go coalesces events. The first event is written at once, those that
//     follow within writeInterval together.
//   - conntrack.go ends UDP flows that go on to where no endpoint is any more,
//     since no packet of an established flow looks at the rules again.
//
// # Invariants
//
// The table is never half written. A packet sees either the old state or the
// new one. A port without endpoints refuses, it does not swallow. What is left
// for the service range after translation is refused as well.
//
// # Differences from Kubernetes
//
// As kube-proxy's nftables mode, but: node ports answer on 127.0.0.1 too, unless
// NodePortAddresses excludes it (package network lets such packets reach pods);
// any address in the service range that no Service has refuses rather than
// drops; topology hints are not looked at; there is no health check port. Only
// IPv4 is served.
package proxy
