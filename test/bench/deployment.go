package main

import (
	"context"
	"encoding/json"
	"fmt"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

const (
	simulatedNodes = 100
	benchReplicas  = 1000
)

// measureDeployment times a Deployment from 0 to 1,000 pods on 100 nodes without machines, whose
// pods are said to be ready as soon as they are bound.
func measureDeployment(ctx context.Context, e *env) ([]result, error) {
	e.remove("bench-server")
	server := e.command(ctx, "bench-server", "server", "--name", "bench-server")
	if err := server.Start(); err != nil {
		return nil, err
	}
	defer func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
	}()
	kubeconfig := "/var/lib/coracle/bench-server/kubeconfig/admin.yaml"
	cs, err := awaitServer(ctx, kubeconfig)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := makeNodes(ctx, cs); err != nil {
		return nil, err
	}
	simulated := make(chan error, 1)
	go func() { simulated <- simulateKubelets(ctx, cs) }()
	labels := map[string]string{"app": "bench"}
	w, err := watchPods(ctx, cs, "default", metav1.ListOptions{LabelSelector: "app=bench"})
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	begin := time.Now()
	_, err = cs.AppsV1().Deployments("default").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "bench"},
		Spec: appsv1.DeploymentSpec{Replicas: new(int32(benchReplicas)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				Containers: []corev1.Container{{Name: "main", Image: "none"}}}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	if err := awaitPods(ctx, w, benchReplicas); err != nil {
		return nil, err
	}
	took := time.Since(begin)
	select {
	case err := <-simulated:
		return nil, err
	default:
	}
	return []result{{"Deployment 0 to 1,000 pods, 100 simulated nodes", "8.1 s", "3 s", seconds(took)}}, nil
}

// awaitServer waits until the server has written its kubeconfig and is ready.
func awaitServer(ctx context.Context, kubeconfig string) (kubernetes.Interface, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		cfg, cs, err := client(kubeconfig)
		if err == nil {
			return cs, awaitReadyz(ctx, cfg.Host+"/readyz")
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return nil, err
		}
	}
}

func makeNodes(ctx context.Context, cs kubernetes.Interface) error {
	return inParallel(16, simulatedNodes, func(_, i int) error {
		name := fmt.Sprintf("simulated-%d", i)
		node, err := cs.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/hostname": name}}}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		room := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("32"), corev1.ResourceMemory: resource.MustParse("256Gi"), corev1.ResourcePods: resource.MustParse("110")}
		now := metav1.Now()
		node.Status = corev1.NodeStatus{Capacity: room, Allocatable: room, Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now}}}
		if _, err := cs.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
			return err
		}
		// New nodes carry a taint until they are Ready; the benchmark does not wait for it to go.
		_, err = cs.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"taints":null}}`), metav1.PatchOptions{})
		return err
	})
}

// simulateKubelets says of every bound pod that it is ready.
func simulateKubelets(ctx context.Context, cs kubernetes.Interface) error {
	w, err := watchPods(ctx, cs, "", metav1.ListOptions{FieldSelector: "spec.nodeName!="})
	if err != nil {
		return err
	}
	defer w.Stop()
	bound := make(chan *corev1.Pod, benchReplicas)
	for range 32 {
		go func() {
			for p := range bound {
				_ = makeReady(ctx, cs, p)
			}
		}()
	}
	defer close(bound)
	for e := range w.ResultChan() {
		if p, ok := e.Object.(*corev1.Pod); ok && e.Type != watch.Deleted && p.Status.Phase == corev1.PodPending {
			bound <- p
		}
	}
	return nil
}

func makeReady(ctx context.Context, cs kubernetes.Interface, p *corev1.Pod) error {
	now := metav1.Now()
	status := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now, PodIP: "192.0.2.1", PodIPs: []corev1.PodIP{{IP: "192.0.2.1"}}, Conditions: []corev1.PodCondition{
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
	}}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = cs.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
