// Package dns answers the cluster's names on one node, with CoreDNS's plugins
// as a library.
//
// The plugins are put together by hand rather than by a Corefile and caddy:
// kubernetes, then cache, then forward. Caddy would bring global state, one
// instance per process, and a logger of its own for all of klog; this way a
// server is a value that starts and stops, and the kubernetes plugin uses the
// rest.Config that it is given, in-process transport included. Names of the
// cluster come from memory and so stand before the cache, which would only make
// them stale.
//
// # What it owns
//
// UDP and TCP port Config.Listen, TCP port Config.Health, and the EndpointSlice kube-system/
// kube-dns-<node> of the Service kube-dns, which is there from the moment this
// node can answer. The slice belongs to the Node object and goes with it. The
// Service itself, without a selector and with internalTrafficPolicy Local, is
// not made here.
//
// # Names that are not of the cluster
//
// They go to the name servers of the host's resolv.conf, save those on loopback
// addresses, which would mean a pod's own loopback, or this very server. Where
// systemd-resolved is such a one, its own upstream servers are taken. The file
// is read again when it changes, and servers that ask this one again (loops) are
// left out. Without any server left, the answer is at once
// that the name does not exist.
//
// # Differences from Kubernetes
//
// One server per node rather than a Deployment. As with the usual Corefile:
// pods insecure, TTL of 30 seconds, reverse zones fall through. NS queries for
// the cluster's zone have no records. /health, /ready and /metrics share one port,
// CoreDNS's for metrics, on the gateway's address: pods on the host network want
// 8080. A name server of the host that asks this one again is left out and named
// in the log, where CoreDNS's plugin loop would end the process. Only IPv4 is
// listened on.
package dns
