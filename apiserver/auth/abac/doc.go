// Package abac authorizes by a file of policies, one in JSON on each line, read once.
//
// A policy names a user or a group, and what they may do: resources of a group in a namespace, or paths
// that are no resources, and either everything or reading alone. Policies allow, and nothing denies. Lines
// without a kind are of the first form that there was (v0), which said less and allowed more; both forms
// are read as Kubernetes reads them.
package abac
