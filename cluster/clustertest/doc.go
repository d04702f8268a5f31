// Package clustertest gives a test a whole Kubernetes cluster inside the test's own process: API server,
// controllers, scheduler, and simulated nodes on which pods run, become ready, fail and finish without a
// machine or a container.
//
//	cfg := clustertest.Start(t)
//
// returns within about a second, with a configuration for clients that may do everything. The cluster
// ends with the test. Any number of them run beside each other in one process, each with its own data,
// ports and objects; nothing outside of the process is needed, and no root.
//
// What simulated pods do is said by annotations, see package simulate: by default they run and are ready
// as soon as they are bound, and pods of Jobs succeed after a tenth of a second.
//
// Invariants: when Start returns, the default service account exists and all nodes are ready, so that pods
// can be created at once. When the test has ended, no goroutine, port or file of the cluster is left.
//
// Different from a cluster: there is no node agent, so that nothing answers at the addresses of pods and
// Services, and no cluster DNS. Data is written without waiting for the disk.
package clustertest
