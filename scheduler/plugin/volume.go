package plugin

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// VolumeBinding keeps a pod back until its claims are there and bound, and to
// the nodes that can reach its volumes. It binds no claims itself: one that
// waits for its first consumer is taken to find no volume.
func VolumeBinding() framework.Plugin {
	return framework.Plugin{
		Name: "VolumeBinding", Filter: filterVolumes,
		Wakes: framework.VolumeChanged | framework.NodeAdded | framework.NodeLabels,
	}
}

func filterVolumes(c *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
	var reachable []*nodeaffinity.NodeSelector
	unbound, waiting := false, false
	for i := range p.Spec.Volumes {
		name, ephemeral := claimName(p, &p.Spec.Volumes[i])
		if name == "" {
			continue
		}
		claim, found := c.Claim(p.Namespace, name)
		switch {
		case !found && ephemeral:
			return nil, framework.Never(fmt.Sprintf("waiting for ephemeral volume controller to create the persistentvolumeclaim %q", name))
		case !found:
			return nil, framework.Never(fmt.Sprintf("persistentvolumeclaim %q not found", name))
		case claim.Deleting:
			return nil, framework.Never(fmt.Sprintf("persistentvolumeclaim %q is being deleted", name))
		case ephemeral && !claim.OwnedBy(p):
			return nil, framework.Never(fmt.Sprintf("PVC %s/%s was not created for pod %s/%s (pod is not owner)", p.Namespace, name, p.Namespace, p.Name))
		case claim.Volume == "" && claim.Waits:
			waiting = true
			continue
		case claim.Volume == "":
			unbound = true
			continue
		}
		nodes, found := c.Volume(claim.Volume)
		if !found {
			return nil, framework.Never(fmt.Sprintf("persistentvolume %q not found", claim.Volume))
		}
		if nodes != nil {
			reachable = append(reachable, nodes)
		}
	}
	if unbound {
		return nil, framework.Never("pod has unbound immediate PersistentVolumeClaims")
	}
	if len(reachable) == 0 && !waiting {
		return nil, nil
	}
	return func(n *snapshot.Node) *framework.Status {
		for _, nodes := range reachable {
			if !nodes.Match(n.Node) {
				return framework.Never("node(s) had volume node affinity conflict")
			}
		}
		if waiting {
			return framework.Never("node(s) didn't find available persistent volumes to bind")
		}
		return nil
	}, nil
}

// claimName is the name of the claim of a volume, or empty if it has none.
func claimName(p *snapshot.Pod, v *corev1.Volume) (name string, ephemeral bool) {
	switch {
	case v.PersistentVolumeClaim != nil:
		return v.PersistentVolumeClaim.ClaimName, false
	case v.Ephemeral != nil:
		return p.Name + "-" + v.Name, true
	default:
		return "", false
	}
}
