// Package scrapeapi serves custom.metrics.k8s.io and external.metrics.k8s.io, by which a
// HorizontalPodAutoscaler follows figures that programs publish about themselves.
//
// A pod says by annotations that it publishes metrics in Prometheus' text form, as many do already:
//
//	prometheus.io/scrape: "true"
//	prometheus.io/port: "9090"       default: the first port of its first container
//	prometheus.io/path: /metrics     the default
//
// A metric of a pod is the sum of its series of that name whose labels match the metric's selector. A
// counter NAME_total is served as NAME, per second. The metric of a Service, of a workload with a selector,
// or of a namespace is the sum of those of its pods. External metrics are the single series of a
// namespace's pods, with their labels.
//
// Nobody is asked for figures that nobody wants: pods are asked when a metric is, and no sooner than ten
// seconds after the last time; for a rate they are asked twice, a second apart, when there is no earlier
// answer.
//
// Invariants: only numbers ever leave the package, never what a pod answered; only pods that run, are not of
// the host's network and ask for it by annotation are reached, at their own address; an answer is
// bounded in size and time.
//
// Different from prometheus-adapter: there is no configuration and no history, and discovery lists no
// metrics, since what there is to list is not known before it is asked for.
package scrapeapi
