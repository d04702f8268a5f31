// Package device allocates devices to pods: the rule DynamicResources, by the claims of resource.k8s.io/v1.
//
// Which devices satisfy a claim is decided by k8s.io/dynamic-resource-allocation, over the claims, slices and classes of
// a snapshot. A decision allocates in the snapshot at once, so that no two pods get one device, and has the claim's
// status written, with the pod in reservedFor, before the pod is bound. A device with binding conditions also has these
// come true before.
//
// Different from kube-scheduler 1.37: the taints of a DeviceTaintRule, extended resources that a class stands for, and
// claims of pod groups are not looked at; a node's time to be judged is not bounded.
package device
