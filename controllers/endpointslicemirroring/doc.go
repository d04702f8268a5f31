// Package endpointslicemirroring copies Endpoints that someone keeps by hand,
// for a service without a selector, to EndpointSlices, which is what proxies and
// DNS read.
//
// It watches Endpoints, services and EndpointSlices. It owns the slices that are
// labelled as managed by endpointslicemirroring-controller.k8s.io.
//
// Endpoints are not mirrored if they are labelled
// endpointslice.kubernetes.io/skip-mirror=true, if they are a lock of leader
// election, or if their service has a selector or does not exist.
//
// Invariants: each slice holds addresses of one family with the same ports, at
// most 1,000; addresses that are not IP addresses are left out. No decision is
// made on slices that are older than those last written.
//
// Differences from Kubernetes 1.37: all addresses of a subset are mirrored, over
// several slices if need be, not only the first 1,000.
package endpointslicemirroring
