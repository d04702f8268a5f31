// Package pod holds what all resources with a pod or a pod template in them share: the defaults of a
// pod's specification, its quality-of-service class and its validation.
//
// It declares no resource of its own; the core and the workload groups call it. Defaults, messages
// and field paths are those of Kubernetes v1.37. Nothing here looks at the cluster: what needs other
// objects (service accounts, priorities, runtime classes) is admission's.
package pod
