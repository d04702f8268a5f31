package main

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// benchReplicas is the size of the usual Deployment.
const benchReplicas = 1000

// stage is a server without nodes of its own, and simulated nodes in a process beside it.
type stage struct {
	cs                 kubernetes.Interface
	server, simulation *exec.Cmd
}

// newStage starts both, and returns when the nodes are registered.
func (e *env) newStage(ctx context.Context, nodes int, flags ...string) (_ *stage, err error) {
	e.remove("bench-server")
	s := &stage{server: e.command(ctx, "bench-server", "server", "--name", "bench-server")}
	if err := s.server.Start(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.cs, err = awaitServer(ctx, "/var/lib/coracle/bench-server/kubeconfig/admin.yaml"); err != nil {
		return nil, err
	}
	args := append([]string{"simulate", "nodes", "--name", "bench-server", "--keep", "--count", strconv.Itoa(nodes)}, flags...)
	simulation := e.command(ctx, "bench-server", args...)
	out, err := simulation.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := simulation.Start(); err != nil {
		return nil, err
	}
	s.simulation = simulation
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, fmt.Errorf("waiting for simulated nodes: %w", err)
	}
	return s, s.awaitSchedulable(ctx, nodes)
}

func (s *stage) stop() {
	for _, cmd := range []*exec.Cmd{s.simulation, s.server} {
		if cmd != nil {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		}
	}
}

// awaitSchedulable waits until no node has the taint of a new one.
func (s *stage) awaitSchedulable(ctx context.Context, count int) error {
	for {
		list, err := s.cs.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return err
		}
		ready := 0
		for i := range list.Items {
			if len(list.Items[i].Spec.Taints) == 0 {
				ready++
			}
		}
		if ready >= count {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// deployment is a Deployment of small pods, which leave a dead node at once.
func deployment(name string, replicas int) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	var tolerations []corev1.Toleration
	for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		tolerations = append(tolerations, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(0))})
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{Replicas: new(int32(replicas)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				Tolerations: tolerations, Containers: []corev1.Container{{Name: "main", Image: "none"}}}}},
	}
}

// rollOut times a Deployment from nothing until all of its pods are ready.
func (s *stage) rollOut(ctx context.Context, name string, replicas int) (time.Duration, error) {
	w, err := watchPods(ctx, s.cs, "default", metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		return 0, err
	}
	defer w.Stop()
	begin := time.Now()
	if _, err := s.cs.AppsV1().Deployments("default").Create(ctx, deployment(name, replicas), metav1.CreateOptions{}); err != nil {
		return 0, err
	}
	err = awaitPods(ctx, w, replicas)
	return time.Since(begin), err
}

// toNothing times a Deployment from all of its pods to none.
func (s *stage) toNothing(ctx context.Context, name string, replicas int) (time.Duration, error) {
	w, err := watchPods(ctx, s.cs, "default", metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		return 0, err
	}
	defer w.Stop()
	begin := time.Now()
	if _, err := s.cs.AppsV1().Deployments("default").Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{}); err != nil {
		return 0, err
	}
	for gone := 0; gone < replicas; {
		event, open := <-w.ResultChan()
		if !open {
			return 0, fmt.Errorf("the watch ended when %d of %d pods were gone", gone, replicas)
		}
		if event.Type == watch.Deleted {
			gone++
		}
	}
	return time.Since(begin), nil
}

// measureDeployment times a Deployment from 0 to 1,000 pods on 100 simulated nodes and back, and how long
// the pods of a node that loses power are missed.
func measureDeployment(ctx context.Context, e *env) ([]result, error) {
	const nodes, replicas = 100, benchReplicas
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	s, err := e.newStage(ctx, nodes)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	up, err := s.rollOut(ctx, "bench", replicas)
	if err != nil {
		return nil, err
	}
	lost, err := s.loseNode(ctx)
	if err != nil {
		return nil, err
	}
	down, err := s.toNothing(ctx, "bench", replicas)
	if err != nil {
		return nil, err
	}
	return []result{
		{"Deployment 0 to 1,000 pods, 100 simulated nodes", "8.1 s", "2.7 s", seconds(up)},
		{"node without power to its pods ready elsewhere, without toleration", "", "50 s + 5 s", seconds(lost)},
		{"Deployment 1,000 pods to 0", "11 s", "3.7 s", seconds(down)},
	}, nil
}

// loseNode takes the power from a node and waits until as many pods as it had are ready elsewhere.
func (s *stage) loseNode(ctx context.Context) (time.Duration, error) {
	const node = "simulated-0"
	pods, err := s.cs.CoreV1().Pods("default").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return 0, err
	}
	w, err := watchPods(ctx, s.cs, "default", metav1.ListOptions{FieldSelector: "spec.nodeName!=" + node})
	if err != nil {
		return 0, err
	}
	defer w.Stop()
	begin := time.Now()
	_, err = s.cs.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, []byte(`{"metadata":{"annotations":{"simulation.coracle.dev/down":"true"}}}`), metav1.PatchOptions{})
	if err != nil {
		return 0, err
	}
	err = awaitPods(ctx, w, len(pods.Items))
	return time.Since(begin), err
}

// measureScale does the same with 5,000 pods on 1,000 nodes.
func measureScale(ctx context.Context, e *env) ([]result, error) {
	const nodes, replicas = 1000, 5000
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	s, err := e.newStage(ctx, nodes)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	took, err := s.rollOut(ctx, "bench", replicas)
	if err != nil {
		return nil, err
	}
	return []result{
		{"Deployment 0 to 5,000 pods, 1,000 simulated nodes", "60 s, 83 pods/s", "20 s", fmt.Sprintf("%s, %.0f pods/s", seconds(took), replicas/took.Seconds())},
		{"resident memory of the server with them", "1730 MB", "577 MB", fmt.Sprintf("%d MB", residentMiB(s.server.Process.Pid))},
	}, nil
}

// measureMemory fills 5,000 nodes with 50,000 pods.
func measureMemory(ctx context.Context, e *env) ([]result, error) {
	const nodes, deployments, replicas = 5000, 10, 5000
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	s, err := e.newStage(ctx, nodes)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	begin := time.Now()
	for i := range deployments {
		if _, err := s.rollOut(ctx, fmt.Sprintf("bench-%d", i), replicas); err != nil {
			return nil, err
		}
	}
	took := time.Since(begin)
	if err := pause(ctx, 30*time.Second); err != nil { // garbage is returned meanwhile
		return nil, err
	}
	return []result{{
		"resident memory with 5,000 simulated nodes and 50,000 pods: server, simulation", "", "",
		fmt.Sprintf("%d MB, %d MB (%.0f pods/s)", residentMiB(s.server.Process.Pid), residentMiB(s.simulation.Process.Pid), deployments*replicas/took.Seconds()),
	}}, nil
}

// measureClustertest times clustertest.Start to a cluster that can be used, within a test's process.
func measureClustertest(ctx context.Context, _ *env) ([]result, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkStart$", "-benchtime", "5x", "./cluster/clustertest").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("running the benchmark: %w\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) >= 4 && strings.HasPrefix(f[0], "BenchmarkStart") && f[3] == "ns/op" {
			ns, err := strconv.ParseFloat(f[2], 64)
			if err != nil {
				return nil, err
			}
			return []result{{"clustertest.Start to usable", "", "1 s", seconds(time.Duration(ns))}}, nil
		}
	}
	return nil, fmt.Errorf("finding the figure in:\n%s", out)
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
