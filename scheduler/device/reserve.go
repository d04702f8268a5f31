package device

import (
	"fmt"
	"slices"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/dynamic-resource-allocation/resourceclaim"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// reserve allocates the claims of a pod on its node, and reserves all of them for it.
func reserve(c *snapshot.Cluster, p *snapshot.Pod, n *snapshot.Node) (*framework.Reservation, *framework.Status) {
	if len(p.Spec.ResourceClaims) == 0 {
		return nil, nil
	}
	claims, status := claimsOf(c, p)
	if status != nil {
		return nil, status
	}
	var results []resourcev1.AllocationResult
	if len(claims.waiting) > 0 {
		allocate, status := allocator(c, claims.waiting)
		if status != nil {
			return nil, status
		}
		if results, status = allocate(n); status != nil {
			return nil, status
		}
	}
	r := &framework.Reservation{}
	var undo []func()
	var keys []string
	take := func(claim *resourcev1.ResourceClaim, result *resourcev1.AllocationResult) {
		keys = append(keys, claim.Namespace+"/"+claim.Name)
		if result == nil && resourceclaim.IsReservedForPod(p.Pod, claim, false) {
			return
		}
		if !slices.Contains(claim.Finalizers, resourcev1.Finalizer) {
			held := claim.DeepCopy()
			held.Finalizers = append(held.Finalizers, resourcev1.Finalizer)
			r.Writes = append(r.Writes, framework.Write{Object: held, Merge: hold})
		}
		taken := taken(claim, result, p)
		undo = append(undo, c.AssumeDeviceClaim(taken))
		r.Writes = append(r.Writes, framework.Write{Object: taken, Status: true, Merge: merge(result, p)})
		r.Undo = append(r.Undo, framework.Write{Object: taken, Status: true, Merge: giveBack(result != nil, p)})
	}
	for i := range claims.waiting {
		take(claims.waiting[i], &results[i])
	}
	for _, claim := range claims.allocated {
		take(claim, nil)
	}
	r.Release = func() {
		for _, f := range undo {
			f()
		}
	}
	r.Settled = func() (bool, error) { return settled(c, p, keys) }
	return r, nil
}

// taken is a claim as it is once the pod has it.
func taken(claim *resourcev1.ResourceClaim, result *resourcev1.AllocationResult, p *snapshot.Pod) *resourcev1.ResourceClaim {
	out := claim.DeepCopy()
	if result != nil {
		out.Status.Allocation = result.DeepCopy()
	}
	if !resourceclaim.IsReservedForPod(p.Pod, claim, false) {
		out.Status.ReservedFor = append(out.Status.ReservedFor, resourcev1.ResourceClaimConsumerReference{Resource: "pods", Name: p.Name, UID: p.UID})
	}
	return out
}

// hold adds the finalizer that keeps an allocated claim.
func hold(newer metav1.Object) (metav1.Object, error) {
	claim, is := newer.(*resourcev1.ResourceClaim)
	if !is {
		return nil, fmt.Errorf("%T is no ResourceClaim", newer)
	}
	out := claim.DeepCopy()
	if !slices.Contains(out.Finalizers, resourcev1.Finalizer) {
		out.Finalizers = append(out.Finalizers, resourcev1.Finalizer)
	}
	return out, nil
}

// merge takes a claim for a pod although somebody else has written it meanwhile, unless they allocated it.
func merge(result *resourcev1.AllocationResult, p *snapshot.Pod) func(metav1.Object) (metav1.Object, error) {
	return func(newer metav1.Object) (metav1.Object, error) {
		claim, is := newer.(*resourcev1.ResourceClaim)
		switch {
		case !is:
			return nil, fmt.Errorf("%T is no ResourceClaim", newer)
		case claim.DeletionTimestamp != nil:
			return nil, fmt.Errorf("claim %s/%s got deleted in the meantime", claim.Namespace, claim.Name)
		case result != nil && claim.Status.Allocation != nil:
			return nil, fmt.Errorf("claim %s/%s got allocated in the meantime", claim.Namespace, claim.Name)
		case result == nil && claim.Status.Allocation == nil:
			return nil, fmt.Errorf("claim %s/%s got deallocated in the meantime", claim.Namespace, claim.Name)
		}
		return taken(claim, result, p), nil
	}
}

// giveBack takes a pod out of a claim, and the allocation that was made for it with it, unless others use that.
func giveBack(allocated bool, p *snapshot.Pod) func(metav1.Object) (metav1.Object, error) {
	return func(newer metav1.Object) (metav1.Object, error) {
		claim, is := newer.(*resourcev1.ResourceClaim)
		if !is {
			return nil, fmt.Errorf("%T is no ResourceClaim", newer)
		}
		if !resourceclaim.IsReservedForPod(p.Pod, claim, false) {
			return nil, nil
		}
		out := claim.DeepCopy()
		out.Status.ReservedFor = slices.DeleteFunc(out.Status.ReservedFor, func(r resourcev1.ResourceClaimConsumerReference) bool { return r.UID == p.UID })
		if allocated && len(out.Status.ReservedFor) == 0 {
			out.Status.Allocation, out.Status.Devices = nil, nil
		}
		return out, nil
	}
}

// settled tells whether the conditions on which devices are bound hold.
func settled(c *snapshot.Cluster, p *snapshot.Pod, keys []string) (bool, error) {
	done := true
	for _, key := range keys {
		claim := c.DeviceClaim(key)
		if claim == nil || claim.Status.Allocation == nil {
			return false, fmt.Errorf("resourceclaim %q is not allocated any more", key)
		}
		if !resourceclaim.IsReservedForPod(p.Pod, claim.ResourceClaim, false) {
			return false, fmt.Errorf("resourceclaim %q is not reserved for the pod any more", key)
		}
		for i := range claim.Status.Allocation.Devices.Results {
			ready, err := deviceReady(claim.ResourceClaim, &claim.Status.Allocation.Devices.Results[i])
			if err != nil {
				return false, err
			}
			done = done && ready
		}
	}
	return done, nil
}

func deviceReady(claim *resourcev1.ResourceClaim, r *resourcev1.DeviceRequestAllocationResult) (bool, error) {
	if len(r.BindingConditions) == 0 {
		return true, nil
	}
	conditions := conditionsOf(claim, r)
	for _, name := range r.BindingFailureConditions {
		if meta.IsStatusConditionTrue(conditions, name) {
			return false, fmt.Errorf("claim %s binding failed: device %s has the condition %s", claim.Name, r.Device, name)
		}
	}
	for _, name := range r.BindingConditions {
		if !meta.IsStatusConditionTrue(conditions, name) {
			return false, nil
		}
	}
	return true, nil
}

func conditionsOf(claim *resourcev1.ResourceClaim, r *resourcev1.DeviceRequestAllocationResult) []metav1.Condition {
	for i := range claim.Status.Devices {
		d := &claim.Status.Devices[i]
		if d.Driver == r.Driver && d.Pool == r.Pool && d.Device == r.Device && sameShare(d.ShareID, r.ShareID) {
			return d.Conditions
		}
	}
	return nil
}

func sameShare(a *string, b *types.UID) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return *a == string(*b)
}
