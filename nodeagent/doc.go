// Package nodeagent is the part of Coracle that runs on every node: it
// registers the node, runs the pods that are bound to it, and makes Services
// and DNS work there. It plays the parts of upstream's kubelet and kube-proxy.
//
// Contract: Run works until its context ends and needs nothing but the
// Kubernetes API. Containers belong to a container runtime that outlives the
// agent: ending or killing the agent stops no container, and the next agent
// takes them all up again. While the API server is away, what runs goes on
// running, and containers that end are started again as far as that needs no
// new knowledge.
//
// The parts: node (the Node object), pod (a worker per pod), lifecycle (what
// to do for a pod, pure), spec (configurations of containers), volume, probe,
// pull, object (config maps and secrets in use), cgroup, logs, serve (the
// agent's own API), stats; runtime and image (containerd), network, proxy and
// dns.
package nodeagent
