// Package serve is the agent's own HTTPS API: logs, exec, attach, port
// forwarding, pods, statistics and metrics, at the paths of upstream's kubelet,
// which API servers and monitoring tools call.
//
// Contract: every request is authenticated, by a client certificate of the
// cluster's CA or by a token that the API server reviews, and authorized by a
// SubjectAccessReview on the node's subresources; nobody is anonymous and
// nothing is open. Streams are passed through to the container runtime's own
// streaming server, which listens on loopback only.
package serve
