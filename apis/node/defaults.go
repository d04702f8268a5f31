package node

import (
	nodev1 "k8s.io/api/node/v1"

	"coracle.dev/coracle/apis/pod"
)

func defaultRuntimeClass(c *nodev1.RuntimeClass) {
	if c.Overhead != nil {
		pod.RoundUp(c.Overhead.PodFixed)
	}
}
