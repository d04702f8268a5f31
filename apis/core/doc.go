// Package core declares the resources of the core group ("", v1): pods, services, nodes and the
// rest of what a cluster is made of.
//
// It owns their names, defaults, validation, selectable fields and table columns, not their storage
// or their special subresources (binding, exec, log, proxy, ...). Messages, field paths and defaults
// are those of Kubernetes v1.37. Bindings and component statuses are not stored, so they are not here.
package core
