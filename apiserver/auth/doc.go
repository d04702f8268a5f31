// Package auth puts together who a request is from and what it may do.
//
// The parts: serviceaccount, bootstraptoken and jwt authenticate tokens; rbac, abac and nodeauthz
// authorize, in the order that chain keeps; bootstrap holds the roles that every cluster has, review
// serves the APIs that ask these questions. What k8s.io/apiserver has (certificates, token files, front
// proxies, webhooks) is used from there.
//
// Authenticators are asked in this order: front proxy, client certificate, bearer token (file, service
// account, bootstrap, OpenID issuers, webhook), anonymous. Credentials that are there but wrong end in 401, never in anonymous.
package auth
