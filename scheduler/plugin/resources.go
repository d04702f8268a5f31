package plugin

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// Fit are the choices of NodeResourcesFit. The zero value is Kubernetes' default.
type Fit struct {
	// Ignored are resources of which nodes need not have enough, by name or by the group before the slash.
	Ignored, IgnoredGroups []string
	// Strategy is which nodes are preferred: LeastAllocated, MostAllocated or RequestedToCapacityRatio. Empty is the first.
	Strategy Strategy
	// Resources are what is compared. Nil is CPU and memory, with equal weight.
	Resources []Weighted
	// Shape is the curve of RequestedToCapacityRatio.
	Shape []Point
}

// NodeResourcesFit keeps a pod off nodes that have less left than it asks for, and prefers some of the others by how
// much they have left.
func NodeResourcesFit(o Fit) framework.Plugin {
	return framework.Plugin{
		Name: "NodeResourcesFit", Local: true, Weight: 1,
		Wakes: framework.NodeAdded | framework.NodeAllocatable | framework.PodRemoved,
		Filter: func(_ *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
			return filterFit(p, o), nil
		},
		Score: scoreFit(o),
	}
}

func (o *Fit) ignores(name string) bool {
	group, _, _ := strings.Cut(name, "/")
	return slices.Contains(o.Ignored, name) || slices.Contains(o.IgnoredGroups, group)
}

func filterFit(p *snapshot.Pod, o Fit) framework.FilterFunc {
	scalars := slices.Sorted(maps.Keys(p.Requests.Scalar))
	scalars = slices.DeleteFunc(scalars, func(name corev1.ResourceName) bool { return o.ignores(string(name)) })
	return func(n *snapshot.Node) *framework.Status {
		var lacks shortage
		if int64(len(n.Pods))+1 > n.AllocatablePods {
			lacks.reasons = append(lacks.reasons, "Too many pods")
		}
		want, has, used := &p.Requests, &n.Allocatable, &n.Requested
		lacks.check(corev1.ResourceCPU, want.MilliCPU, has.MilliCPU, used.MilliCPU)
		lacks.check(corev1.ResourceMemory, want.Memory, has.Memory, used.Memory)
		lacks.check(corev1.ResourceEphemeralStorage, want.EphemeralStorage, has.EphemeralStorage, used.EphemeralStorage)
		for _, name := range scalars {
			lacks.check(name, want.Scalar[name], has.Scalar[name], used.Scalar[name])
		}
		if lacks.reasons == nil {
			return nil
		}
		return &framework.Status{Reasons: lacks.reasons, Final: lacks.final}
	}
}

// shortage gathers what a node has too little of.
type shortage struct {
	reasons []string
	final   bool // even an empty node of this kind would have too little
}

func (s *shortage) check(name corev1.ResourceName, want, has, used int64) {
	if want > 0 && want > has-used {
		s.reasons = append(s.reasons, insufficient(name))
		s.final = s.final || want > has
	}
}

// insufficient is made once for the usual resources, since on a full cluster it is said of thousands of nodes.
func insufficient(name corev1.ResourceName) string {
	switch name {
	case corev1.ResourceCPU:
		return "Insufficient cpu"
	case corev1.ResourceMemory:
		return "Insufficient memory"
	}
	return "Insufficient " + string(name)
}
