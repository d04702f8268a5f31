// Package volumebinding binds PersistentVolumeClaims to PersistentVolumes, and
// takes back the volumes whose claims are gone.
//
// It watches claims, volumes, storage classes, and the pods that recycle
// volumes. Of a volume it writes spec.claimRef, the annotation
// pv.kubernetes.io/bound-by-controller, and the phase; of a claim
// spec.volumeName, the annotations pv.kubernetes.io/bind-completed,
// pv.kubernetes.io/bound-by-controller and volume.kubernetes.io/storage-provisioner,
// the default storage class where it has none, and the status up to Bound.
//
// A binding is two pointers: from the volume to the claim, with its UID, and
// from the claim to the volume. It is made in that order, so that a volume is
// promised to one claim before any claim says that it has it. Every write is of
// the version that was read: of two claims that want one volume, one loses, and
// looks again. A crash between any two writes leaves a volume that is promised
// to the claim, which the next pass finds first.
//
// Volumes are made and deleted by provisioners, which are programs of their own
// (localpath is one): this controller names the provisioner in an annotation of
// the claim, and waits for a volume that is bound to it. Claims of a class that
// waits for its first consumer are left to the scheduler, until it has chosen a
// node or a volume. Released volumes are kept, left to their provisioner to be
// deleted, or, if they are on a host's path or NFS, recycled by a pod that
// empties them.
//
// Invariants: a claim whose binding is complete is never given another volume;
// a volume is released only after the API server itself, not the cache, has
// said that its claim is gone.
//
// Differences from Kubernetes: it acts on events, not every 15 seconds; an
// event is written once, until what it says changes; a claim that is being
// deleted is not bound any more; no volume is deleted by the controller itself,
// as Kubernetes does for host paths under /tmp.
package volumebinding
