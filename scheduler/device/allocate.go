package device

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/dynamic-resource-allocation/cel"
	"k8s.io/dynamic-resource-allocation/structured"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// features are those that Kubernetes 1.37 has on by default.
var features = structured.Features{
	AdminAccess: true, PrioritizedList: true, PartitionableDevices: true, DeviceTaints: true, ConsumableCapacity: true, DeviceBindingAndStatus: true,
}

// expressions are the compiled selectors of claims and classes.
var expressions = cel.NewCache(256, cel.Features{EnableConsumableCapacity: true})

// allocator finds devices for claims on one node or another.
func allocator(c *snapshot.Cluster, claims []*resourcev1.ResourceClaim) (func(*snapshot.Node) ([]resourcev1.AllocationResult, *framework.Status), *framework.Status) {
	ctx := context.Background() // it logs and computes; there is nothing in it to wait for
	all := slices.SortedFunc(maps.Values(c.Slices()), func(a, b *resourcev1.ResourceSlice) int { return cmpName(a.Name, b.Name) })
	a, err := structured.NewAllocator(ctx, features, allocated(c), classes{c}, all, expressions)
	if err != nil {
		return nil, framework.Never(fmt.Sprintf("preparing to allocate claims: %v", err))
	}
	return func(n *snapshot.Node) ([]resourcev1.AllocationResult, *framework.Status) {
		results, err := a.Allocate(ctx, n.Node, claims)
		switch {
		case errors.Is(err, structured.ErrFailedAllocationOnNode):
			return nil, framework.Unfit(err.Error())
		case err != nil:
			return nil, framework.Never(fmt.Sprintf("allocating claims: %v", err))
		case results == nil:
			return nil, framework.Unfit(reasonShort)
		}
		return results, nil
	}, nil
}

func cmpName(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// allocated is what claims have taken of the devices.
func allocated(c *snapshot.Cluster) structured.AllocatedState {
	out := structured.AllocatedState{
		AllocatedDevices: sets.New[structured.DeviceID](), AllocatedSharedDeviceIDs: sets.New[structured.SharedDeviceID](),
		AggregatedCapacity: structured.NewConsumedCapacityCollection(),
	}
	for _, claim := range c.DeviceClaims() {
		if claim.Status.Allocation == nil {
			continue
		}
		for i := range claim.Status.Allocation.Devices.Results {
			r := &claim.Status.Allocation.Devices.Results[i]
			if r.AdminAccess != nil && *r.AdminAccess {
				continue
			}
			id := structured.MakeDeviceID(r.Driver, r.Pool, r.Device)
			if r.ShareID == nil {
				out.AllocatedDevices.Insert(id)
				continue
			}
			out.AllocatedSharedDeviceIDs.Insert(structured.MakeSharedDeviceID(id, r.ShareID))
			if r.ConsumedCapacity != nil {
				out.AggregatedCapacity.Insert(structured.NewDeviceConsumedCapacity(id, r.ConsumedCapacity))
			}
		}
	}
	return out
}

// classes lists the classes of a snapshot for the allocator.
type classes struct{ c *snapshot.Cluster }

func (l classes) List() ([]*resourcev1.DeviceClass, error) {
	return slices.Collect(maps.Values(l.c.DeviceClasses())), nil
}

func (l classes) Get(name string) (*resourcev1.DeviceClass, error) {
	if class := l.c.DeviceClasses()[name]; class != nil {
		return class, nil
	}
	return nil, fmt.Errorf("device class %s does not exist", name)
}
