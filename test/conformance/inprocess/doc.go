// Package inprocess checks conformance requirements against a cluster in this process: an API server
// over an embedded etcd alone, or with controllers, scheduler and simulated nodes (clustertest), as
// the requirement needs. A test that needs containers runs on real ones, in test/e2e.
//
// Tests that share a server are subtests of one function and work in namespaces of their own. The
// tables of the folder above name them.
package inprocess
