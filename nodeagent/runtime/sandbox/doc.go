// Package sandbox is the containerd plugin that makes pod sandboxes without a
// pause container: it starts the holder, a tiny process in the pod's namespaces,
// and the shim that will be the parent of the pod's containers. Upstream's
// controller has runc start a pause image for that, which takes most of the time
// that a pod takes to start.
//
// # Contract
//
// It is a sandbox.Controller of containerd, used by the CRI plugin for the
// runtime handlers that name it. User namespaces and shared process namespaces
// are refused: see Supported. The network namespace is the CRI plugin's.
//
// # What it owns
//
// Per sandbox a directory each under its root and state directories, the /dev/shm
// mount in the latter, the two processes, and the shim's socket. The CRI plugin
// expects the files at places of its own; those are symbolic links to ours. They
// are links for a reason: at its start the plugin removes every directory there
// that belongs to no pause container.
//
// # Invariants
//
// The processes outlive containerd. What is needed to find them again is written
// to disk before they are allowed to stay: until then both wait for a byte on a
// pipe, and go away if it breaks. So there is never a process that nobody knows
// of. A process is known by its id and start time, and is watched by a pidfd;
// one that has taken over the id is never signalled. If either process ends, the
// sandbox has ended: without its shim, a pod could start no container.
//
// # Differences from upstream's controller
//
// The holder is in no cgroup of the pod. It does not run in an image of its own,
// so it keeps the host's mount namespace; it is never visible from containers,
// save in pods that see the host's processes anyway.
package sandbox
