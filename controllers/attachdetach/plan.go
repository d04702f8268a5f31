package attachdetach

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// unmountPatience is how long a node that is not ready may list a volume that
// nobody needs there.
const unmountPatience = 6 * time.Minute

// outOfService is the taint by which an administrator says that a node has
// stopped for good.
const outOfService = "node.kubernetes.io/out-of-service"

// attachmentName is the name of the attachment of a volume to a node, which
// drivers' tools know.
func attachmentName(v *corev1.PersistentVolume, node string) string {
	sum := sha256.Sum256([]byte(v.Spec.CSI.VolumeHandle + v.Spec.CSI.Driver + node))
	return fmt.Sprintf("csi-%x", sum)
}

// uniqueName is the name of a volume in the status of nodes.
func uniqueName(v *corev1.PersistentVolume) corev1.UniqueVolumeName {
	return corev1.UniqueVolumeName("kubernetes.io/csi/" + v.Spec.CSI.Driver + "^" + v.Spec.CSI.VolumeHandle)
}

// exclusive tells whether a volume may be on one node alone.
func exclusive(v *corev1.PersistentVolume) bool {
	if len(v.Spec.AccessModes) == 0 {
		return false
	}
	return !slices.ContainsFunc(v.Spec.AccessModes, func(m corev1.PersistentVolumeAccessMode) bool {
		return m == corev1.ReadWriteMany || m == corev1.ReadOnlyMany
	})
}

// observed is what is known of one node.
type observed struct {
	name string
	node *corev1.Node // nil if it is gone
	// needed are the volumes that pods need there.
	needed []*corev1.PersistentVolume
	// volumes are all by name; attachments those of all nodes.
	volumes     map[string]*corev1.PersistentVolume
	attachments []storagev1.VolumeAttachment
	// unneeded is since when a volume has been attached for nobody, by the name
	// of the attachment.
	unneeded map[string]time.Time
}

// plan is what to do for a node.
type plan struct {
	attach []*storagev1.VolumeAttachment
	detach []*storagev1.VolumeAttachment
	// blocked are the volumes that another node has to give up first.
	blocked []*corev1.PersistentVolume
	// attached is what the node's status shall say.
	attached []corev1.AttachedVolume
	// unneeded replaces the observed one.
	unneeded map[string]time.Time
	// again is when a volume may be taken from the node by force; zero if none.
	again time.Time
}

func decide(o observed, now time.Time) plan {
	p := plan{unneeded: map[string]time.Time{}}
	need := map[string]*corev1.PersistentVolume{}
	for _, v := range o.needed {
		need[attachmentName(v, o.name)] = v
	}
	have := map[string]bool{}
	for i := range o.attachments {
		a := &o.attachments[i]
		if a.Spec.NodeName != o.name || a.Spec.Source.PersistentVolumeName == nil {
			continue
		}
		have[a.Name] = true
		v := o.volumes[*a.Spec.Source.PersistentVolumeName]
		if v != nil && v.Spec.CSI != nil && a.Status.Attached {
			p.attached = append(p.attached, corev1.AttachedVolume{Name: uniqueName(v)})
		}
		if need[a.Name] == nil && a.DeletionTimestamp == nil && strings.HasPrefix(a.Name, "csi-") {
			p.detachUnlessUsed(o, a, v, now)
		}
	}
	for _, v := range o.needed {
		name := attachmentName(v, o.name)
		switch {
		case o.node == nil, have[name]: // one that is being deleted goes first
		case exclusive(v) && elsewhere(o, v):
			p.blocked = append(p.blocked, v)
		default:
			have[name] = true
			p.attach = append(p.attach, &storagev1.VolumeAttachment{
				ObjectMeta: metav1.ObjectMeta{Name: name},
				Spec: storagev1.VolumeAttachmentSpec{
					Attacher: v.Spec.CSI.Driver, NodeName: o.name, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &v.Name},
				},
			})
		}
	}
	slices.SortFunc(p.attached, func(a, b corev1.AttachedVolume) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return p
}

// detachUnlessUsed detaches what nobody needs once the node has let go of it.
func (p *plan) detachUnlessUsed(o observed, a *storagev1.VolumeAttachment, v *corev1.PersistentVolume, now time.Time) {
	inUse := o.node != nil && v != nil && v.Spec.CSI != nil && slices.Contains(o.node.Status.VolumesInUse, uniqueName(v))
	if !inUse || slices.ContainsFunc(o.node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == outOfService }) {
		p.detach = append(p.detach, a)
		return
	}
	since, known := o.unneeded[a.Name]
	if !known {
		since = now
	}
	forced := since.Add(unmountPatience)
	if !ready(o.node) && !now.Before(forced) {
		p.detach = append(p.detach, a)
		return
	}
	p.unneeded[a.Name] = since
	if forced.After(now) && (p.again.IsZero() || forced.Before(p.again)) {
		p.again = forced
	}
}

func ready(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// elsewhere tells whether a volume is attached to another node, or may be.
func elsewhere(o observed, v *corev1.PersistentVolume) bool {
	return slices.ContainsFunc(o.attachments, func(a storagev1.VolumeAttachment) bool {
		return a.Spec.NodeName != o.name && a.Spec.Source.PersistentVolumeName != nil && *a.Spec.Source.PersistentVolumeName == v.Name
	})
}
