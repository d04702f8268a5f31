// Package metricsapi serves metrics.k8s.io: what nodes, pods and containers use, as kubectl top and the
// HorizontalPodAutoscaler ask for it.
//
// The figures are those of the node agents (/metrics/resource), reached as for logs. Nobody is asked for
// figures that nobody wants: the first request has all agents asked twice, a second apart, and as long as
// requests come, they are asked again every 15 seconds. So an idle cluster pays nothing.
//
// It owns what was last measured, in memory. Use of CPU is the difference of two readings of a counter
// divided by the time between them, both by the agent's own clock; that of a container that started after
// the earlier reading counts from its start.
//
// Invariants: what is shown of a pod is complete, or the pod is not shown; a figure is never older than
// two rounds. Another server of metrics.k8s.io takes its place when its APIService is applied.
//
// Different from metrics-server: it is part of the API server, serves v1 beside v1beta1, and shows pods
// from their third second on.
package metricsapi
