package plugin

import (
	"fmt"
	"testing"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// BenchmarkSchedule places the pods of a service on 100 and 5,000 nodes.
func BenchmarkSchedule(b *testing.B) {
	for _, nodes := range []int{100, 5000} {
		b.Run(fmt.Sprintf("%d-nodes", nodes), func(b *testing.B) {
			c := world()
			for i := range nodes {
				c.SetNode(node(fmt.Sprintf("n%d", i), has("cpu=1000000", "pods=1000000"), zone(fmt.Sprintf("z%d", i%3))))
			}
			c.SetService("default", "web", map[string]string{"app": "web"})
			plugins := Default()
			start := 0
			for i := range b.N {
				p := snapshot.NewPod(pod(fmt.Sprintf("p%d", i), app("web"), asks("cpu=1m")))
				result := framework.Schedule(plugins, c, p, framework.Choice{Start: start})
				start += result.Looked
				c.Assume(p, result.Node)
			}
		})
	}
}
