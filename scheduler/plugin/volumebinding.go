package plugin

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/component-helpers/storage/volume"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

const (
	reasonNoVolume     = "node(s) didn't find available persistent volumes to bind"
	reasonUnreachable  = "node(s) didn't match PersistentVolume's node affinity"
	reasonLostVolume   = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
	reasonUnboundClaim = "pod has unbound immediate PersistentVolumeClaims"
	reasonNoSpace      = "node(s) did not have enough free storage"
)

// VolumeBinding keeps a pod back until its claims are there and bound, or wait for their first consumer, and to the
// nodes that can reach its volumes. For claims that wait it chooses volumes, or the node for which they are to be
// provisioned, and has that written before the pod is bound.
func VolumeBinding() framework.Plugin {
	return framework.Plugin{
		Name: "VolumeBinding", Filter: filterVolumes, Reserve: reserveVolumes,
		Wakes: framework.ClaimChanged | framework.VolumeChanged | framework.NodeAdded | framework.NodeLabels,
		Hint: func(_ *snapshot.Cluster, p *snapshot.Pod, change framework.Change) bool {
			return change.Event != framework.ClaimChanged || slices.Contains(p.Claims, change.Claim)
		},
	}
}

// podVolumes are the claims of a pod, by what is to be done about them.
type podVolumes struct {
	bound   []*snapshot.Claim
	waiting []*snapshot.Claim // for their first consumer; the smallest first
}

func filterVolumes(c *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
	if len(p.Claims) == 0 {
		return nil, nil
	}
	claims, status := volumesOf(c, p)
	if status != nil {
		return nil, status
	}
	candidates := candidateVolumes(c, claims.waiting)
	return func(n *snapshot.Node) *framework.Status {
		if status := claims.boundStatus(c, n); status != nil {
			return status
		}
		_, reason := chooseVolumes(c, n, claims.waiting, candidates)
		if reason != "" {
			return framework.Never(reason)
		}
		return nil
	}, nil
}

// volumesOf sorts the claims of a pod, and says why it must wait for one.
func volumesOf(c *snapshot.Cluster, p *snapshot.Pod) (*podVolumes, *framework.Status) {
	out := &podVolumes{}
	unbound := false
	for i := range p.Spec.Volumes {
		name, ephemeral := snapshot.ClaimName(p.Pod, &p.Spec.Volumes[i])
		if name == "" {
			continue
		}
		claim := c.Claim(p.Namespace + "/" + name)
		if reason := unusable(claim, p, name, ephemeral); reason != "" {
			return nil, framework.Never(reason)
		}
		class := c.Class(claim.Class)
		switch {
		case claim.IsBound():
			out.bound = append(out.bound, claim)
		case class != nil && waits(class) && claim.Spec.VolumeName == "":
			out.waiting = append(out.waiting, claim)
		default:
			unbound = true
		}
	}
	if unbound {
		return nil, framework.Never(reasonUnboundClaim)
	}
	slices.SortStableFunc(out.waiting, func(a, b *snapshot.Claim) int {
		x, y := a.Spec.Resources.Requests[corev1.ResourceStorage], b.Spec.Resources.Requests[corev1.ResourceStorage]
		return x.Cmp(y)
	})
	return out, nil
}

func unusable(claim *snapshot.Claim, p *snapshot.Pod, name string, ephemeral bool) string {
	switch {
	case claim == nil && ephemeral:
		return fmt.Sprintf("waiting for ephemeral volume controller to create the persistentvolumeclaim %q", name)
	case claim == nil:
		return fmt.Sprintf("persistentvolumeclaim %q not found", name)
	case claim.Status.Phase == corev1.ClaimLost:
		return fmt.Sprintf("persistentvolumeclaim %q bound to non-existent persistentvolume %q", name, claim.Spec.VolumeName)
	case claim.DeletionTimestamp != nil:
		return fmt.Sprintf("persistentvolumeclaim %q is being deleted", name)
	case ephemeral && !claim.OwnedBy(p):
		return fmt.Sprintf("PVC %s/%s was not created for pod %s/%s (pod is not owner)", p.Namespace, name, p.Namespace, p.Name)
	}
	return ""
}

func waits(class *storagev1.StorageClass) bool {
	return class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

func (v *podVolumes) boundStatus(c *snapshot.Cluster, n *snapshot.Node) *framework.Status {
	for _, claim := range v.bound {
		switch volume := c.Volume(claim.Spec.VolumeName); {
		case volume == nil:
			return framework.Never(reasonLostVolume)
		case !volume.Reaches(n):
			return framework.Never(reasonUnreachable)
		}
	}
	return nil
}

// candidateVolumes are the volumes of each class that claims wait for, by name.
func candidateVolumes(c *snapshot.Cluster, waiting []*snapshot.Claim) map[string][]*corev1.PersistentVolume {
	out := map[string][]*corev1.PersistentVolume{}
	for _, claim := range waiting {
		if _, done := out[claim.Class]; done {
			continue
		}
		var list []*corev1.PersistentVolume
		for _, v := range c.VolumesOf(claim.Class) {
			list = append(list, v.PersistentVolume)
		}
		slices.SortFunc(list, func(a, b *corev1.PersistentVolume) int { return strings.Compare(a.Name, b.Name) })
		out[claim.Class] = list
	}
	return out
}

// choice is a volume for a claim; nil if one is to be provisioned.
type choice struct {
	claim  *snapshot.Claim
	volume *corev1.PersistentVolume
}

// chooseVolumes finds volumes that a node reaches for the claims that wait, or says why there are none.
func chooseVolumes(c *snapshot.Cluster, n *snapshot.Node, waiting []*snapshot.Claim, candidates map[string][]*corev1.PersistentVolume) (out []choice, reason string) {
	taken := map[string]*corev1.PersistentVolume{}
	for _, claim := range waiting {
		if selected, is := claim.Annotations[volume.AnnSelectedNode]; is {
			if selected != n.Name {
				return nil, reasonNoVolume
			}
		} else {
			found, err := volume.FindMatchingVolume(claim.PersistentVolumeClaim, candidates[claim.Class], n.Node, taken, false, true)
			if err != nil {
				return nil, reasonNoVolume
			}
			if found != nil {
				taken[found.Name] = found
				out = append(out, choice{claim, found})
				continue
			}
		}
		if reason := provisionable(c, n, claim); reason != "" {
			return nil, reason
		}
		out = append(out, choice{claim: claim})
	}
	return out, ""
}

// provisionable says why no volume can be provisioned for a claim on a node.
func provisionable(c *snapshot.Cluster, n *snapshot.Node, claim *snapshot.Claim) (reason string) {
	class := c.Class(claim.Class)
	if class == nil || class.Provisioner == "" || class.Provisioner == volume.NotSupportedProvisioner {
		return reasonNoVolume
	}
	if !inTopology(class.AllowedTopologies, n.Labels) {
		return reasonNoVolume
	}
	if !hasSpace(c, n, claim, class) {
		return reasonNoSpace
	}
	return ""
}

func inTopology(terms []corev1.TopologySelectorTerm, labels map[string]string) bool {
	return len(terms) == 0 || slices.ContainsFunc(terms, func(term corev1.TopologySelectorTerm) bool {
		for _, e := range term.MatchLabelExpressions {
			if value, has := labels[e.Key]; !has || !sets.New(e.Values...).Has(value) {
				return false
			}
		}
		return len(term.MatchLabelExpressions) > 0
	})
}

// Score says nothing of volumes: rating nodes by free storage is alpha in Kubernetes 1.37.

func reserveVolumes(c *snapshot.Cluster, p *snapshot.Pod, n *snapshot.Node) (*framework.Reservation, *framework.Status) {
	if len(p.Claims) == 0 {
		return nil, nil
	}
	claims, status := volumesOf(c, p)
	if status != nil || len(claims.waiting) == 0 {
		return nil, status
	}
	choices, reason := chooseVolumes(c, n, claims.waiting, candidateVolumes(c, claims.waiting))
	if reason != "" {
		return nil, framework.Never(reason)
	}
	return reserveChoices(c, n, choices)
}
