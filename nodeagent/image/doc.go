// Package image loads, lists and removes images in the node's containerd, without
// a registry.
//
// Contract: images are named as Kubernetes names them, so that `mysql` is
// docker.io/library/mysql:latest here and in a pod. What is imported can be used by
// pods as soon as Import returns. All work is containerd's, through its socket;
// the package keeps no state. An image that a container uses can be removed: the
// container goes on.
package image
