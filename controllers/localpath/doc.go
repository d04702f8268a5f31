// Package localpath makes, grows and deletes volumes that are folders of nodes.
//
// It is the provisioner coracle.dev/local-path, an external provisioner in the
// sense of Kubernetes: it acts on claims whose annotation
// volume.kubernetes.io/storage-provisioner names it, and on the volumes whose
// annotation pv.kubernetes.io/provisioned-by does. The binding is the volume
// binder's work.
//
// It watches claims, volumes and storage classes, creates and deletes
// PersistentVolumes of type local, whose node affinity is their node, and keeps
// the finalizer external-provisioner.volume.kubernetes.io/finalizer on those
// that are to be deleted with their folder. The folder is made and removed by
// the node's agent, which is asked through the API server:
// PUT and DELETE /api/v1/nodes/NODE/proxy/localvolumes/VOLUME.
//
// A class that waits for its first consumer gets the node that the scheduler
// chose; for one that binds at once, a ready node is chosen by the claim's UID.
//
// Invariants: a volume's name is its claim's UID, so that no claim gets two; a
// volume is there only after its folder, and goes only after it, unless its node
// is gone.
//
// Limits: capacities are kept in the books, not enforced, so growing a volume
// always succeeds; volumes of mode Block are refused.
package localpath
