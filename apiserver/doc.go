// Package apiserver is the Kubernetes API server: it serves the built-in resources of the catalog,
// custom resources and aggregated APIs over one etcd, embedded or external.
//
//	Options → Validate → Config → Complete → New → Run
//
// Options are what flags say, with the names of kube-apiserver's flags. Config holds what they refer
// to, read and checked. New opens the storage and wires the parts; it is the only wiring function:
//
//	kube-aggregator → built-in resources → custom resources → not found
//
// The parts: registry derives a resource's storage from its descriptor, storage keeps etcd, openapi
// has the prebuilt documents, extension joins the three servers of the chain, transport serves
// clients in this process, controlplane keeps what the server itself needs in the cluster, auth and
// admission decide who may do what, subresource and allocation are the custom parts of core resources.
//
// Differences from Kubernetes: alpha and beta versions are not served; there are no cloud providers.
package apiserver
