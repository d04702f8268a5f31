// Package runtime runs the container runtime of the node agent: a containerd of
// its own, built into the same binary, as a detached child process.
//
// # Contract
//
// Start finds the containerd that runs for the given directories, or starts one,
// and returns clients of its CRI services once they answer. From then on it is
// watched: if it dies, it is started again, until the context of Start ends. The
// end of the context, or of this process, leaves containerd and all containers
// running; so does the end of containerd. Stop is for taking a node down.
//
// The binary must call ContainerdMain when its first argument is "containerd".
//
// # What it owns
//
// Everything in Config.RootDir and Config.RunDir, the processes that these give
// rise to (containerd, and per pod a shim and a holder), the mounts below both,
// and nothing outside, save the pods' cgroups, whose names the caller chooses.
// Two runtimes with different directories do not notice each other.
//
// # Invariants
//
// One containerd per RunDir: a lock file serialises Start and Stop, and a record
// with process id and start time tells whether the one that runs is ours, and of
// the same binary and configuration; else it is replaced, which containers do
// not notice.
//
// # Runtime handlers
//
// The default handler uses the sandbox controller of package sandbox. What that
// does not support goes to the handler named StockHandler; HandlerFor decides.
// Both start containers with the embedded runc through the embedded shim, which
// drops capabilities that this host does not have from what is asked for.
//
// # Differences from Kubernetes
//
// The default seccomp profile covers the native architecture alone, unless the
// pod has the annotation coracle.dev/seccomp-architectures: all. On amd64,
// 32-bit programs need it.
package runtime
