// Package spec turns a Pod into what the container runtime needs: sandbox and
// container configurations of the Container Runtime Interface.
//
// Contract: everything here is computed from its arguments. What has to be
// looked up (config maps, secrets, services, host files) comes in through
// small interfaces or plain values, so that the result can be tested as data.
// The package starts, stops and mounts nothing.
//
// Messages that reach a user (CreateContainerConfigError and the like) are
// spelled as Kubernetes 1.37 spells them.
//
// Differences from Kubernetes: pod cgroups lie directly below one parent
// instead of in a folder per quality-of-service class, so that CPU shares are
// weighed among all pods of the node and no shares of the class folders have
// to follow every pod that comes and goes. Environment variables keep the
// order in which they were defined.
package spec
