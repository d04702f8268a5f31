package plugin

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// BenchmarkSchedule places pods of one kind, one after the other, on 100 and 5,000 nodes in three zones.
func BenchmarkSchedule(b *testing.B) {
	kinds := []struct {
		name    string
		options []podOption
	}{
		{"plain", nil},
		{"service", []podOption{app("web")}},
		{"spread", []podOption{app("web"), spread(corev1.LabelTopologyZone, 5, corev1.DoNotSchedule, "web")}},
		{"preferred-spread", []podOption{app("web"), spread(corev1.LabelTopologyZone, 5, corev1.ScheduleAnyway, "web")}},
		{"affinity", []podOption{app("web"), near("web", corev1.LabelTopologyZone)}},
		{"anti-affinity", []podOption{app("web"), away("other", corev1.LabelHostname)}},
		{"preferred-affinity", []podOption{app("web"), rather("web", corev1.LabelHostname, 1)}},
		{"node-affinity", []podOption{selects(corev1.LabelTopologyZone + "=z1")}},
	}
	for _, nodes := range []int{100, 5000} {
		for _, kind := range kinds {
			b.Run(fmt.Sprintf("%s/%d-nodes", kind.name, nodes), func(b *testing.B) {
				c := benchWorld(nodes, "cpu=1000000")
				if kind.name == "service" {
					c.SetService("default", "web", map[string]string{"app": "web"})
				}
				plugins := Default()
				start := 0
				pods := make([]*corev1.Pod, b.N)
				for i := range pods {
					pods[i] = pod(fmt.Sprintf("p%d", i), append([]podOption{asks("cpu=1m")}, kind.options...)...)
				}
				b.ResetTimer()
				for i := range b.N {
					p := snapshot.NewPod(pods[i])
					result := framework.Schedule(plugins, c, p, framework.Choice{Start: start})
					if result.Node == "" {
						b.Fatal(result.Failure.Message())
					}
					start += result.Looked
					c.Assume(p, result.Node)
				}
			})
		}
	}
}

// BenchmarkPreempt finds room on full nodes.
func BenchmarkPreempt(b *testing.B) {
	for _, nodes := range []int{100, 5000} {
		b.Run(fmt.Sprintf("%d-nodes", nodes), func(b *testing.B) {
			c := benchWorld(nodes, "cpu=4")
			for i := range nodes * 4 {
				c.SetPod(pod(fmt.Sprintf("low%d", i), asks("cpu=1"), on(fmt.Sprintf("n%d", i%nodes))))
			}
			plugins := Default()
			b.ResetTimer()
			for i := range b.N {
				p := snapshot.NewPod(pod(fmt.Sprintf("high%d", i), asks("cpu=3"), priority(9)))
				result := framework.Schedule(plugins, c, p, framework.Choice{})
				if preemption, why := framework.Preempt(plugins, c, p, result.Failure, i, framework.Candidates{}); preemption == nil {
					b.Fatal(why)
				}
			}
		})
	}
}

func benchWorld(nodes int, cpu string) *snapshot.Cluster {
	c := world()
	for i := range nodes {
		c.SetNode(node(fmt.Sprintf("n%d", i), has(cpu, "memory=1000Gi", "pods=1000000"), zone(fmt.Sprintf("z%d", i%3))))
	}
	return c
}
