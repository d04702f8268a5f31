// Package nodeauthz authorizes node agents: each may read what its own pods need, and no more.
//
// The Graph follows the pods of the cluster, and knows for each node the secrets, config maps, claims,
// volumes, service accounts and resource claims that the node's pods refer to. The Authorizer answers
// requests of users system:node:NAME in group system:nodes; what does not depend on pods it answers from a
// fixed list of rules. It never denies: who asks for more gets no opinion, and may have roles besides.
//
// A node learns of its pod by the same watch that feeds the graph, so it may ask before the graph knows.
// The authorizer therefore waits a moment before it says no.
//
// Differences from Kubernetes: the moment of waiting; volumes and their secrets are reached through the
// pod's claim, volume attachments by their node.
package nodeauthz
