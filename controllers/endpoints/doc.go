// Package endpoints keeps the Endpoints of services that have a selector.
//
// It watches services, pods and Endpoints. It owns the Endpoints named after a
// service with a selector, and deletes those of a service that is deleted, made
// by hand or not. Endpoints of a service without a selector are left to whoever
// wrote them.
//
// Invariants: an address is in Addresses only if its pod is ready, or the
// service publishes addresses that are not; addresses with the same ports are
// in one subset, all in a fixed order, so that nothing is written that changed
// in order alone; there are no more than 1,000 addresses.
//
// Differences from Kubernetes 1.37: of more than 1,000 addresses the first are
// kept, the ready ones before the others, and not a share of each subset. Passes
// over services of many pods are spaced by up to 250 ms.
package endpoints
