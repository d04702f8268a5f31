// Package endpointslice keeps the EndpointSlices of services that have a
// selector, by means of Kubernetes' own library for it, k8s.io/endpointslice.
//
// It watches services, pods, nodes and EndpointSlices. It owns the slices that
// are labelled as managed by endpointslice-controller.k8s.io.
//
// Invariants: a slice holds at most 100 endpoints of one address family; no
// decision is made on slices that are older than those last written.
//
// Differences from Kubernetes 1.37: passes over services of many pods are spaced
// by up to 250 ms.
package endpointslice
