package plugin

import (
	"math"

	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// Strategy is how nodes are compared by their resources.
type Strategy string

// Strategies, by the names that configurations use.
const (
	LeastAllocated           Strategy = "LeastAllocated"
	MostAllocated            Strategy = "MostAllocated"
	RequestedToCapacityRatio Strategy = "RequestedToCapacityRatio"
)

// Weighted is a resource and how much it counts.
type Weighted struct {
	Name   corev1.ResourceName
	Weight int64
}

// Point is a point of a curve from utilization, in percent, to a score of 0 to 10.
type Point struct{ Utilization, Score int64 }

// maxShapeScore is the best score in a Point.
const maxShapeScore = 10

var cpuAndMemory = []Weighted{{corev1.ResourceCPU, 1}, {corev1.ResourceMemory, 1}}

func scoreFit(o Fit) func(*snapshot.Cluster, *snapshot.Pod, []*snapshot.Node) []int64 {
	rate, zeroCounts := leastAllocated, true
	switch o.Strategy {
	case MostAllocated:
		rate = mostAllocated
	case RequestedToCapacityRatio:
		rate, zeroCounts = onCurve(o.Shape), false
	}
	resources := o.Resources
	if resources == nil {
		resources = cpuAndMemory
	}
	return func(_ *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node) []int64 {
		scores := make([]int64, len(nodes))
		for i, n := range nodes {
			var sum, weights int64
			for _, r := range resources {
				used, has := usage(p, n, r.Name)
				if has == 0 {
					continue
				}
				if score := rate(used, has); score > 0 || zeroCounts {
					sum += score * r.Weight
					weights += r.Weight
				}
			}
			switch {
			case weights == 0:
			case zeroCounts:
				scores[i] = sum / weights
			default:
				scores[i] = int64(math.Round(float64(sum) / float64(weights)))
			}
		}
		return scores
	}
}

// usage is how much of a resource would be in use on a node with the pod, and how much there is. A resource that the
// pod does not ask for is none, save CPU and memory, of which every container uses some.
func usage(p *snapshot.Pod, n *snapshot.Node, name corev1.ResourceName) (used, has int64) {
	switch name {
	case corev1.ResourceCPU:
		return n.ForScore.MilliCPU + p.ForScore.MilliCPU, n.Allocatable.MilliCPU
	case corev1.ResourceMemory:
		return n.ForScore.Memory + p.ForScore.Memory, n.Allocatable.Memory
	case corev1.ResourceEphemeralStorage:
		return n.Requested.EphemeralStorage + p.Requests.EphemeralStorage, n.Allocatable.EphemeralStorage
	}
	if p.Requests.Scalar[name] == 0 {
		return 0, 0
	}
	return n.Requested.Scalar[name] + p.Requests.Scalar[name], n.Allocatable.Scalar[name]
}

func leastAllocated(used, has int64) int64 {
	if used > has {
		return 0
	}
	return (has - used) * framework.MaxScore / has
}

func mostAllocated(used, has int64) int64 { return min(used, has) * framework.MaxScore / has }

func onCurve(shape []Point) func(used, has int64) int64 {
	return func(used, has int64) int64 {
		utilization := int64(100)
		if used <= has {
			utilization = used * 100 / has
		}
		for i, p := range shape {
			if utilization > p.Utilization {
				continue
			}
			if i == 0 {
				return shape[0].Score * framework.MaxScore / maxShapeScore
			}
			q := shape[i-1]
			from, to := q.Score*framework.MaxScore/maxShapeScore, p.Score*framework.MaxScore/maxShapeScore
			return from + (to-from)*(utilization-q.Utilization)/(p.Utilization-q.Utilization)
		}
		if len(shape) == 0 {
			return 0
		}
		return shape[len(shape)-1].Score * framework.MaxScore / maxShapeScore
	}
}

// BalancedAllocation prefers nodes on which resources would be in use to a like degree. Nil is CPU and memory.
func BalancedAllocation(resources []Weighted) framework.Plugin {
	if resources == nil {
		resources = cpuAndMemory
	}
	return framework.Plugin{
		Name: "NodeResourcesBalancedAllocation", Weight: 1,
		Score: func(_ *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node) []int64 {
			if p.Requests.IsZero() { // it changes no balance
				return nil
			}
			scores := make([]int64, len(nodes))
			fractions := make([]float64, 0, len(resources))
			for i, n := range nodes {
				fractions = fractions[:0]
				for _, r := range resources {
					if used, has := requested(p, n, r.Name); has > 0 {
						fractions = append(fractions, min(float64(used)/float64(has), 1))
					}
				}
				scores[i] = int64((1 - deviation(fractions)) * float64(framework.MaxScore))
			}
			return scores
		},
	}
}

// requested is like usage, but counts what is asked for alone.
func requested(p *snapshot.Pod, n *snapshot.Node, name corev1.ResourceName) (used, has int64) {
	switch name {
	case corev1.ResourceCPU:
		return n.Requested.MilliCPU + p.Requests.MilliCPU, n.Allocatable.MilliCPU
	case corev1.ResourceMemory:
		return n.Requested.Memory + p.Requests.Memory, n.Allocatable.Memory
	}
	return usage(p, n, name)
}

func deviation(fractions []float64) float64 {
	switch len(fractions) {
	case 0, 1:
		return 0
	case 2:
		return math.Abs(fractions[0]-fractions[1]) / 2
	}
	var sum, squares float64
	for _, f := range fractions {
		sum += f
	}
	mean := sum / float64(len(fractions))
	for _, f := range fractions {
		squares += (f - mean) * (f - mean)
	}
	return math.Sqrt(squares / float64(len(fractions)))
}
