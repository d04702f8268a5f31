package main

import (
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/cluster/clustertest"
	"coracle.dev/coracle/nodeagent/simulate"
)

// BenchmarkDeployment takes Deployments from 0 to 1,000 ready pods on 100 simulated nodes, all in this process, which
// makes it the way to profile them: go test ./test/bench -run ^$ -bench Deployment -benchtime 1x -cpuprofile cpu.out
func BenchmarkDeployment(b *testing.B) {
	cs := kubernetes.NewForConfigOrDie(clustertest.Start(b, clustertest.WithNodes(100)))
	b.ResetTimer()
	for i := range b.N {
		name := fmt.Sprintf("bench-%d", i)
		labels := map[string]string{"app": name}
		w, err := watchPods(b.Context(), cs, "default", metav1.ListOptions{LabelSelector: "app=" + name})
		if err != nil {
			b.Fatal(err)
		}
		begin := time.Now()
		_, err = cs.AppsV1().Deployments("default").Create(b.Context(), &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: appsv1.DeploymentSpec{Replicas: new(int32(benchReplicas)), Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
					Containers: []corev1.Container{{Name: "main", Image: "none"}}}}},
		}, metav1.CreateOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if err := awaitPods(b.Context(), w, benchReplicas); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(begin).Seconds(), "s/1000-pods")
		w.Stop()
	}
}

// BenchmarkScheduling places pods of each kind on 5,000 simulated nodes.
func BenchmarkScheduling(b *testing.B) {
	cs := kubernetes.NewForConfigOrDie(clustertest.Start(b, clustertest.WithPools(simulate.Pool{Name: "node", Count: schedulingNodes, Zones: []string{"a", "b", "c"}})))
	s := &stage{cs: cs}
	for _, w := range workloads {
		b.Run(w.name, func(b *testing.B) {
			for i := range b.N {
				name := fmt.Sprintf("%s-%d", w.name, i)
				took, err := s.place(b.Context(), name, schedulingPods, func(p *corev1.Pod) { w.change(&p.Spec, &metav1.LabelSelector{MatchLabels: p.Labels}) })
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(schedulingPods/took.Seconds(), "pods/s")
			}
		})
	}
}
