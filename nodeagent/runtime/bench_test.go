package runtime

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// BenchmarkPod measures what the runtime takes of a pod's start: the sandbox, one
// container, its start.
func BenchmarkPod(b *testing.B) {
	for name, async := range map[string]bool{"synced": false, "async": true} {
		b.Run(name, func(b *testing.B) {
			n := newNode(b, func(c *Config) { c.AsyncMetadata, c.LogLevel = async, "warn" })
			steps := map[string][]time.Duration{}
			lap := func(step string, since time.Time) time.Time {
				now := time.Now()
				steps[step] = append(steps[step], now.Sub(since))
				return now
			}
			for i := 0; b.Loop(); i++ {
				config := n.sandboxConfig(fmt.Sprintf("pod-%d", i))
				began := time.Now()
				p := n.runPod(config)
				at := lap("1-sandbox", began)
				created, err := n.CRI().CreateContainer(b.Context(), &runtimev1.CreateContainerRequest{
					PodSandboxId: p.id, Config: containerConfig("main", "sleep", "1000"), SandboxConfig: config,
				})
				if err != nil {
					b.Fatal(err)
				}
				at = lap("2-create", at)
				if _, err := n.CRI().StartContainer(b.Context(), &runtimev1.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
					b.Fatal(err)
				}
				lap("3-start", at)
				at = lap("total", began)
				p.remove()
				lap("4-remove", at)
			}
			for step, taken := range steps {
				slices.Sort(taken)
				b.ReportMetric(float64(taken[len(taken)/2].Microseconds())/1000, step+"-p50-ms")
			}
			total := steps["total"]
			b.ReportMetric(float64(total[len(total)*99/100].Microseconds())/1000, "total-p99-ms")
		})
	}
}

// BenchmarkFiftyPods measures fifty at once.
func BenchmarkFiftyPods(b *testing.B) {
	n := newNode(b, func(c *Config) { c.LogLevel = "warn" })
	for round := 0; b.Loop(); round++ {
		pods := make([]*pod, 50)
		var all sync.WaitGroup
		for i := range pods {
			all.Go(func() {
				pods[i] = n.runPod(n.sandboxConfig(fmt.Sprintf("pod-%d-%d", round, i)))
				pods[i].start(containerConfig("main", "sleep", "1000"))
			})
		}
		all.Wait()
		b.StopTimer()
		for _, p := range pods {
			if p == nil {
				b.FailNow()
			}
			all.Go(p.remove)
		}
		all.Wait()
		b.StartTimer()
	}
}
