// Package framework decides where a pod goes: which nodes it fits, which of them is best, and in which words to say
// that there is none.
//
// A decision is a function of a snapshot, a pod and the tie-break given; it asks no client and no clock. The rules are
// Plugins, plain values that Schedule is handed in order, so that tests and other schedulers choose their own.
//
// Messages, the order of filters and the weights of scores are those of kube-scheduler 1.37. Different is that a
// plugin's preparation and its per-node check are one closure, rather than several interfaces with a state shared
// through a map.
package framework
