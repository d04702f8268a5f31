package device

import (
	"fmt"
	"slices"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/dynamic-resource-allocation/resourceclaim"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

const (
	reasonElsewhere = "resourceclaim not available on the node"
	reasonShort     = "cannot allocate all claims"
	reasonInUse     = "resourceclaim in use"
	// noneToFree is what the rule says to pods that fit nowhere and have no claim that could be given back.
	noneToFree = "no new claims to deallocate"
)

// DynamicResources keeps a pod to nodes where its claims are, or can be, allocated, and allocates them.
func DynamicResources() framework.Plugin {
	return framework.Plugin{
		Name: "DynamicResources", Filter: filter, Reserve: reserve,
		Dry:   func(*snapshot.Pod) string { return noneToFree },
		Wakes: framework.NodeAdded | framework.NodeLabels | framework.PodRemoved | framework.DeviceClaimChanged | framework.DevicesChanged,
		Hint: func(_ *snapshot.Cluster, p *snapshot.Pod, change framework.Change) bool {
			if change.Event == framework.PodRemoved {
				return len(change.Pod.Spec.ResourceClaims) > 0
			}
			return true // what one claim gives back, another can take
		},
	}
}

// podClaims are the claims of a pod, by what is to be done about them.
type podClaims struct {
	allocated []*resourcev1.ResourceClaim
	waiting   []*resourcev1.ResourceClaim
}

func filter(c *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
	if len(p.Spec.ResourceClaims) == 0 {
		return nil, nil
	}
	claims, status := claimsOf(c, p)
	if status != nil {
		return nil, status
	}
	var reach []*nodeaffinity.NodeSelector
	for _, claim := range claims.allocated {
		if s := claim.Status.Allocation.NodeSelector; s != nil {
			selector, err := nodeaffinity.NewNodeSelector(s)
			if err != nil {
				return nil, framework.Never(fmt.Sprintf("resourceclaim %q has a node selector that is not valid: %v", claim.Name, err))
			}
			reach = append(reach, selector)
		}
	}
	var allocate func(*snapshot.Node) ([]resourcev1.AllocationResult, *framework.Status)
	if len(claims.waiting) > 0 {
		if allocate, status = allocator(c, claims.waiting); status != nil {
			return nil, status
		}
	}
	return func(n *snapshot.Node) *framework.Status {
		if slices.ContainsFunc(reach, func(s *nodeaffinity.NodeSelector) bool { return !s.Match(n.Node) }) {
			return framework.Unfit(reasonElsewhere)
		}
		if allocate == nil {
			return nil
		}
		_, status := allocate(n)
		return status
	}, nil
}

// claimsOf finds the claims of a pod, and says why it must wait for one.
func claimsOf(c *snapshot.Cluster, p *snapshot.Pod) (*podClaims, *framework.Status) {
	out := &podClaims{}
	for i := range p.Spec.ResourceClaims {
		name, owned, err := resourceclaim.Name(p.Pod, &p.Spec.ResourceClaims[i])
		if err != nil {
			return nil, framework.Never(err.Error())
		}
		if name == nil {
			continue // none was needed
		}
		claim := c.DeviceClaim(p.Namespace + "/" + *name)
		switch {
		case claim == nil:
			return nil, framework.Never(fmt.Sprintf("resourceclaim.resource.k8s.io %q not found", *name))
		case claim.DeletionTimestamp != nil:
			return nil, framework.Never(fmt.Sprintf("resourceclaim %q is being deleted", *name))
		}
		if owned {
			if err := resourceclaim.IsForPod(p.Pod, claim.ResourceClaim, false); err != nil {
				return nil, framework.Never(err.Error())
			}
		}
		if claim.Status.Allocation == nil {
			if status := classesKnown(c, claim.ResourceClaim); status != nil {
				return nil, status
			}
			out.waiting = append(out.waiting, claim.ResourceClaim)
			continue
		}
		if !resourceclaim.IsReservedForPod(p.Pod, claim.ResourceClaim, false) && len(claim.Status.ReservedFor) >= resourcev1.ResourceClaimReservedForMaxSize {
			return nil, framework.Unfit(reasonInUse)
		}
		out.allocated = append(out.allocated, claim.ResourceClaim)
	}
	return out, nil
}

// classesKnown says which class of a claim does not exist.
func classesKnown(c *snapshot.Cluster, claim *resourcev1.ResourceClaim) *framework.Status {
	check := func(request, class string) *framework.Status {
		if c.DeviceClasses()[class] == nil {
			return framework.Never(fmt.Sprintf("request %s: device class %s does not exist", request, class))
		}
		return nil
	}
	for _, r := range claim.Spec.Devices.Requests {
		if r.Exactly != nil {
			if status := check(r.Name, r.Exactly.DeviceClassName); status != nil {
				return status
			}
		}
		for _, sub := range r.FirstAvailable {
			if status := check(r.Name+"/"+sub.Name, sub.DeviceClassName); status != nil {
				return status
			}
		}
	}
	return nil
}
