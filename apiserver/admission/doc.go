// Package admission lists the admission plugins, in the order in which they see a request, and puts
// together those that are switched on.
//
// A folder per plugin of ours; NamespaceLifecycle, webhooks and policies are k8s.io/apiserver's.
// Plugins that change objects come before those that only look.
//
// Differences from Kubernetes: the plugins not named in Order are missing; SecurityContextDeny, which
// Kubernetes no longer has, is there.
package admission
