// Package volume makes a pod's volumes available as folders of the host, and
// takes them away.
//
// Contract: Setup is idempotent and may be called again at any time, also by
// a new agent process while containers use the volumes: it brings what
// mirrors API objects up to date and leaves data alone. Teardown unmounts
// everything below the pod's folder and then removes it; it refuses to remove
// anything while a mount is left, because that might be data of the host.
//
// Layout: <Root>/pods/<uid>/volumes/<plugin>/<name>, as upstream's kubelet has
// it. Files of config maps, secrets, downward API and projected volumes are
// changed all at once by renaming a link (see atomic.go).
//
// Not supported: clusterTrustBundle and podCertificate projections, huge page
// emptyDirs, block mode, CSI and network file systems. Claims are followed to
// persistent volumes of type hostPath and local.
package volume
