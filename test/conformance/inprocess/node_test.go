package inprocess

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestTwoNodes: a cluster has two nodes without taints, and pods that keep apart run on both.
func TestTwoNodes(t *testing.T) {
	e := cluster(t)
	free := 0
	for _, n := range must(e.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}))(t).Items {
		if len(n.Spec.Taints) == 0 && !n.Spec.Unschedulable {
			free++
		}
	}
	if free < 2 {
		t.Fatalf("%d nodes have no taints, want 2 or more", free)
	}
	ns := e.settled(t)
	apart := simpleDeployment("apart", 2)
	apart.Spec.Template.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
		{TopologyKey: corev1.LabelHostname, LabelSelector: apart.Spec.Selector},
	}}}
	must(e.AppsV1().Deployments(ns).Create(t.Context(), apart, metav1.CreateOptions{}))(t)
	eventually(t, "two pods run on two nodes", func(ctx context.Context) error {
		on := map[string]bool{}
		for _, p := range must(e.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{}))(t).Items {
			if p.Status.Phase == corev1.PodRunning {
				on[p.Spec.NodeName] = true
			}
		}
		if len(on) != 2 {
			return fmt.Errorf("they run on %v", on)
		}
		return nil
	})
}
