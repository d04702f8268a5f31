// Package pod is what the API server does with pods beyond storing them: binding to a node, eviction,
// ephemeral containers, resize, and the connections to containers (log, exec, attach, port-forward,
// proxy).
//
// Every write goes through the pods' one store, so that conflicts, dry run and watches hold for it too.
// An eviction takes its share of the disruption budget before it deletes, never after: a crash between
// the two costs an eviction, not a budget. Connections end at the node agent of the pod's node; nothing
// is buffered here.
//
// Differences from Kubernetes: bandwidth of connections is not limited; WebSocket requests are
// translated here, never handed to the agent as such.
package pod
