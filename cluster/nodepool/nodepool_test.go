package nodepool_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/apis/simulation/v1alpha1"
	"coracle.dev/coracle/cluster/clustertest"
	"coracle.dev/coracle/cluster/nodepool"
	"coracle.dev/coracle/nodeagent/simulate"
)

// env is a cluster without nodes of its own, whose pools are followed.
type env struct {
	t     *testing.T
	nodes kubernetes.Interface
	pools dynamic.ResourceInterface
}

func start(t *testing.T) *env {
	t.Helper()
	cfg := clustertest.Start(t, clustertest.WithoutNodes(), clustertest.WithControllers(), clustertest.WithoutScheduler())
	ctx, cancel := context.WithCancel(context.Background())
	done, ready := make(chan error, 1), make(chan struct{})
	go func() {
		done <- nodepool.Run(ctx, cfg, simulate.Options{Pools: []simulate.Pool{{Name: "fixed", Count: 1}}, OnReady: func() { close(ready) }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("following pools: %v", err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("following pools: %v", err)
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &env{t, client, dyn.Resource(v1alpha1.GroupVersion.WithResource("simulatednodepools"))}
}

// awaitNodes waits until there are just the named nodes besides the fixed one.
func (e *env) awaitNodes(names ...string) []corev1.Node {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	w, err := e.nodes.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	defer w.Stop()
	for {
		list, err := e.nodes.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			e.t.Fatal(err)
		}
		got := []string{}
		for _, n := range list.Items {
			if n.Name != "fixed-0" {
				got = append(got, n.Name)
			}
		}
		if strings.Join(got, " ") == strings.Join(names, " ") {
			return list.Items
		}
		if _, open := <-w.ResultChan(); !open {
			e.t.Fatalf("there are the nodes %v, want %v", got, names)
		}
	}
}

func (e *env) create(yaml map[string]any, name string) {
	e.t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "simulation.coracle.dev/v1alpha1", "kind": "SimulatedNodePool", "metadata": map[string]any{"name": name}, "spec": yaml,
	}}
	if _, err := e.pools.Create(e.t.Context(), o, metav1.CreateOptions{}); err != nil {
		e.t.Fatal(err)
	}
}

// awaitStatus waits until a pool's status says what it should.
func (e *env) awaitStatus(name string, says func(status map[string]any) error) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	w, err := e.pools.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		e.t.Fatal(err)
	}
	defer w.Stop()
	last := fmt.Errorf("there is no pool %s", name)
	for event := range w.ResultChan() {
		if o, is := event.Object.(*unstructured.Unstructured); is && event.Type != watch.Deleted {
			status, _, _ := unstructured.NestedMap(o.Object, "status")
			if last = says(status); last == nil {
				return
			}
		}
	}
	e.t.Fatalf("waiting for the status of %s: %v", name, last)
}

func TestPoolsBecomeNodes(t *testing.T) {
	e := start(t)
	e.create(map[string]any{"count": int64(3), "cpu": "2", "memory": "4Gi", "zones": []any{"a", "b"}}, "small")
	nodes := e.awaitNodes("small-0", "small-1", "small-2")
	for _, n := range nodes[1:] {
		if n.Status.Capacity.Cpu().Value() != 2 || n.Status.Allocatable.Memory().Value() != 4<<30 || n.Labels[corev1.LabelTopologyZone] == "" {
			t.Errorf("node %s has %v and the labels %v", n.Name, n.Status.Capacity, n.Labels)
		}
	}
	e.awaitStatus("small", func(s map[string]any) error {
		if s["count"] != int64(3) {
			return fmt.Errorf("it is %v, want a count of 3", s)
		}
		return nil
	})

	if _, err := e.pools.Patch(t.Context(), "small", types.MergePatchType, []byte(`{"spec":{"replicas":1}}`), metav1.PatchOptions{}, "scale"); err != nil {
		t.Fatal(err)
	}
	e.awaitNodes("small-0")

	e.create(map[string]any{"cpu": "many"}, "wrong")
	e.create(map[string]any{}, "fixed")
	for name, want := range map[string]string{"wrong": `spec.cpu "many"`, "fixed": "other simulated nodes"} {
		e.awaitStatus(name, func(s map[string]any) error {
			if m, _ := s["message"].(string); !strings.Contains(m, want) {
				return fmt.Errorf("it is %v, want a message with %q", s, want)
			}
			return nil
		})
	}

	if err := e.pools.Delete(t.Context(), "small", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	e.awaitNodes()
}
