// Package csrsigning signs approved certificate requests with the cluster's
// authority.
//
// It watches CertificateSigningRequests, and writes status.certificate, or the
// condition Failed, of those for its signers: kubernetes.io/kube-apiserver-client,
// kubernetes.io/kube-apiserver-client-kubelet, kubernetes.io/kubelet-serving and
// kubernetes.io/legacy-unknown. What each of them signs is in plan.go.
//
// Invariants: nothing is signed that is not approved, or that was denied or has
// failed; a certificate never outlives its authority, and lasts at least ten
// minutes; it starts five minutes ago, for clocks that are late. The subject and
// the alternative names are the request's, all else is the signer's.
//
// Different from Kubernetes: one authority serves all signers.
package csrsigning
