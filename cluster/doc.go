// Package cluster runs a whole Coracle cluster in this process: API server, controllers, scheduler
// and node agent, wired together through the Kubernetes API alone.
//
// It owns a cluster's identity on a machine: its name, the folders below DataDir and RunDir, its
// ports and address ranges, its certificates and kubeconfigs, and the lock that keeps a second
// process from running it. It holds no Kubernetes behaviour of its own; that is in the parts.
//
// A cluster's configuration is settled at its first start, written to config.yaml in its data
// directory, and read from there ever after, so that flags need be given only once.
//
// Invariants: private keys are readable by their owner only; files are replaced atomically; what a
// cluster made on the machine can be found again from its name, so that Reset removes all of it
// and nothing else.
package cluster
