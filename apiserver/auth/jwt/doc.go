// Package jwt authenticates tokens of OpenID issuers, as an AuthenticationConfiguration (--authentication-config)
// or the --oidc flags name them.
//
// An issuer's keys are fetched over TLS when the server starts and when a token names one that is not
// known. What a token says becomes a user by claim mappings and CEL rules; k8s.io/apiserver does that.
// Tokens of issuers that are not configured are none of its business.
//
// A configuration file is read again when it changes. A new configuration takes the place of the old one
// once the keys of all its issuers are there; a faulty one is logged, counted, and changes nothing. What
// the file says of anonymous requests is read at the start alone, as in Kubernetes.
package jwt
