// Package inprocess checks conformance requirements against a cluster in this process: an API server
// over an embedded etcd, and the controllers that the requirement is about. Pods run nowhere; a test
// that needs them to runs on real containers, in test/e2e.
//
// Tests that share a server are subtests of one function and work in namespaces of their own. The
// tables of the folder above name them.
package inprocess
