// Package bootstrap holds the roles and bindings that every cluster has, and puts them there.
//
// They are tables (roles.txt, bindings.txt). At each start of the server what is missing is added:
// roles, rules, subjects. What users added stays, and an object whose annotation
// rbac.authorization.kubernetes.io/autoupdate is "false" is left alone. A binding that now refers to
// another role is replaced.
//
// Differences from Kubernetes: the objects are listed once, and written at once and only where
// something is missing, so that a start over existing data costs five lists. The aggregated roles are
// born with their rules, which the aggregation controller keeps. Roles named coracle: are our own.
package bootstrap
