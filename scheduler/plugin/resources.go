package plugin

import (
	"maps"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// NodeResourcesFit keeps a pod off nodes that have less left than it asks for, and prefers those that have most left
// (LeastAllocated over CPU and memory).
func NodeResourcesFit() framework.Plugin {
	return framework.Plugin{
		Name: "NodeResourcesFit", Local: true, Weight: 1,
		Wakes:  framework.NodeAdded | framework.NodeAllocatable | framework.PodRemoved,
		Filter: filterFit, Score: scoreLeastAllocated,
	}
}

func filterFit(_ *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
	scalars := slices.Sorted(maps.Keys(p.Requests.Scalar))
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
	}, nil
}

// shortage gathers what a node has too little of.
type shortage struct {
	reasons []string
	final   bool // even an empty node of this kind would have too little
}

func (s *shortage) check(name corev1.ResourceName, want, has, used int64) {
	if want > 0 && want > has-used {
		s.reasons = append(s.reasons, "Insufficient "+string(name))
		s.final = s.final || want > has
	}
}

func scoreLeastAllocated(_ *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node) []int64 {
	scores := make([]int64, len(nodes))
	for i, n := range nodes {
		var sum, weights int64
		for _, r := range [...]struct{ used, has int64 }{
			{n.ForScore.MilliCPU + p.ForScore.MilliCPU, n.Allocatable.MilliCPU},
			{n.ForScore.Memory + p.ForScore.Memory, n.Allocatable.Memory},
		} {
			if r.has == 0 {
				continue
			}
			weights++
			if r.used <= r.has {
				sum += (r.has - r.used) * framework.MaxScore / r.has
			}
		}
		if weights > 0 {
			scores[i] = sum / weights
		}
	}
	return scores
}

// BalancedAllocation prefers nodes on which CPU and memory would be in use to a like degree.
func BalancedAllocation() framework.Plugin {
	return framework.Plugin{
		Name: "NodeResourcesBalancedAllocation", Weight: 1,
		Score: func(_ *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node) []int64 {
			if p.Requests.IsZero() { // it changes no balance
				return nil
			}
			scores := make([]int64, len(nodes))
			for i, n := range nodes {
				cpu, hasCPU := fraction(n.Requested.MilliCPU+p.Requests.MilliCPU, n.Allocatable.MilliCPU)
				memory, hasMemory := fraction(n.Requested.Memory+p.Requests.Memory, n.Allocatable.Memory)
				deviation := 0.0
				if hasCPU && hasMemory {
					deviation = math.Abs(cpu-memory) / 2
				}
				scores[i] = int64((1 - deviation) * float64(framework.MaxScore))
			}
			return scores
		},
	}
}

func fraction(used, has int64) (f float64, known bool) {
	if has == 0 {
		return 0, false
	}
	return min(float64(used)/float64(has), 1), true
}

// Image sizes between these bounds make a difference; the upper one is per container.
const (
	minImageBytes = 23 << 20
	maxImageBytes = 1000 << 20
)

// ImageLocality prefers nodes that have the pod's images already, weighted by how many nodes have them, so that one
// node is not swamped because it was the first to pull an image.
func ImageLocality() framework.Plugin {
	return framework.Plugin{Name: "ImageLocality", Weight: 1, Score: scoreImages}
}

func scoreImages(c *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node) []int64 {
	images := make([]string, 0, len(p.Spec.Containers)+len(p.Spec.InitContainers))
	for i := range p.Spec.InitContainers {
		images = append(images, imageName(p.Spec.InitContainers[i].Image))
	}
	for i := range p.Spec.Containers {
		images = append(images, imageName(p.Spec.Containers[i].Image))
	}
	if !slices.ContainsFunc(images, func(name string) bool { return c.ImageNodes(name) > 0 }) {
		return nil
	}
	top := int64(maxImageBytes) * int64(len(images))
	scores := make([]int64, len(nodes))
	for i, n := range nodes {
		var sum int64
		for _, name := range images {
			spread := float64(c.ImageNodes(name)) / float64(len(c.Nodes()))
			sum += int64(float64(n.ImageSize(name)) * spread)
		}
		sum = min(max(sum, minImageBytes), top)
		scores[i] = framework.MaxScore * (sum - minImageBytes) / (top - minImageBytes)
	}
	return scores
}

// imageName adds the tag that an image without tag or digest has.
func imageName(image string) string {
	for i := len(image) - 1; i >= 0; i-- {
		switch image[i] {
		case ':', '@':
			return image
		case '/':
			return image + ":latest"
		}
	}
	return image + ":latest"
}
