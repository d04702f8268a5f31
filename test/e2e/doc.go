// Package e2e drives the scenarios of users (S01 to S45) with kubectl against a running cluster:
// a real API server over TLS, real containers, a real network.
//
// The tests start a cluster of their own, named by CORACLE_E2E_NAME (default "e2e"), with its own
// data, addresses, interfaces and kubeconfig, and remove it when they end; another cluster that
// runs on the machine is not touched. With CORACLE_E2E_KEEP=1 the cluster is left running, and
// taken up by the next run. They need root and a built bin/coracle.
//
// Each test is named by its scenario, works in a namespace of its own, and runs in parallel with
// the others unless it disturbs the whole node. Images: busybox, and workload (the folder beside).
package e2e
