// Package certificate are the admission plugins that keep signers of certificates apart.
//
// Who may update certificate signing requests, or bundles of trust, may do so for the signers alone on
// which they have the verb: approve (CertificateApproval), sign (CertificateSigning), attest
// (ClusterTrustBundleAttest). The resource is signers.certificates.k8s.io, its name that of the signer, or
// its domain and a star. CertificateSubjectRestriction refuses requests for a client certificate of
// system:masters, which nobody shall get by way of the API.
package certificate
