// Package lifecycle decides what is to be done for a pod, and what is to be
// said about it.
//
// Contract: pure functions of the pod, of what the container runtime reported
// and of the time that is passed in. Plan answers with the next actions,
// Status with the pod's status. Neither has a client, a context or a clock;
// package pod carries the actions out and calls again when one of them has
// had an effect, when something happened, or at Plan's own time.
//
// Reasons and messages are those of Kubernetes 1.37.
package lifecycle
