// Package pod runs the pods of a node.
//
// Contract: every pod has a worker, a goroutine that owns all that is known
// of the pod. Whatever happens (the API object changes, the runtime reports a
// container, a probe changes its mind, an operation ends, a time comes) is
// put into the worker's mailbox; the worker then asks package lifecycle what
// to do and what to say, and starts operations, which run beside it and
// report through the mailbox. Nothing is polled, and no lock is held across
// pods.
//
// Per pod at most one launch runs at a time (volumes, sandbox, images,
// containers in order, postStart hooks), as many kills as containers, and one
// finish. A launch is cancelled when the pod has to go.
//
// The worker never stops a container because the API server is away: only an
// API object that has a deletion timestamp or is known to be gone ends a pod.
// What an earlier agent process started is taken up from the runtime's
// records.
//
// Resources of a running pod change when the API server's pod asks for others
// and the node has them: the pod that a worker holds carries what was granted,
// so that all else follows from it. What was granted before is read back from
// the pod's status after a restart.
//
// Differences from Kubernetes: an image that cannot be pulled shows
// ImagePullBackOff two seconds after ErrImagePull instead of at the next sync
// of the pod.
package pod
