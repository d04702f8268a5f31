package plugin

import (
	"slices"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

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
