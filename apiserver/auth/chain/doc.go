// Package chain asks authorizers in the order of an AuthorizationConfiguration, which is a file
// (--authorization-config) or what the flags amount to.
//
// The first that allows or denies decides; who has no opinion passes the question on, and what nobody
// allows is refused. Members of system:masters are never asked about. Webhooks are made here, with their
// match conditions, caches and metrics; the other authorizers are given, by the type that names them.
//
// A file is read again when it changes. Webhooks may come, go and change places with all others; the set
// of the other authorizers stays as it was at the start, as in Kubernetes. A faulty file is logged,
// counted, and changes nothing.
package chain
