// Package daemon is containerd as the node agent runs it: the server with the
// plugins that Kubernetes needs and no others, and the sandbox controller of ours.
//
// Importing the package registers those plugins; nothing runs before Main.
package daemon
