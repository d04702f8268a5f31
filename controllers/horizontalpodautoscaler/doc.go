// Package horizontalpodautoscaler scales workloads by metrics of their pods, or
// of other things.
//
// It watches HorizontalPodAutoscalers, and looks at each of them every 15
// seconds: at the scale of its target, the target's pods, and the metrics, by
// the APIs metrics.k8s.io, custom.metrics.k8s.io and external.metrics.k8s.io. It
// writes the scale of targets and the status of autoscalers.
//
// Invariants: a target is never scaled beyond minReplicas and maxReplicas, nor
// faster than its behavior allows; a metric that is missing never makes it
// smaller; a target of which no metric is known is left alone.
//
// What was recommended and done of late, on which stabilization and policies
// depend, is kept in memory, as in Kubernetes: after a restart the first
// recommendation is the present scale.
package horizontalpodautoscaler
