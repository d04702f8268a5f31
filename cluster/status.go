package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Row is a line of a cluster's status.
type Row struct{ Name, Value string }

// Status tells how a cluster of this machine is, and whether it works.
func Status(ctx context.Context, c *Config) (rows []Row, healthy bool) {
	add := func(name, format string, args ...any) { rows = append(rows, Row{name, fmt.Sprintf(format, args...)}) }
	add("cluster", "%s (%s)", c.Name, c.DataDir)
	pid := Running(c)
	if pid == 0 {
		add("coracle", "stopped")
	} else {
		add("coracle", "process %d, %s resident", pid, resident(pid))
	}
	if child := containerdProcess(c); child != 0 {
		add("containerd", "process %d, %s resident", child, resident(child))
	} else {
		add("containerd", "stopped")
	}
	if pid == 0 {
		return rows, false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	objects, healthy := statusOfObjects(ctx, c)
	return append(rows, objects...), healthy
}

// adminClient is a client of a cluster that may be down.
func adminClient(c *Config) (kubernetes.Interface, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig("admin"))
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(cfg)
}

// apiReady returns why the cluster's API server is not ready.
func apiReady(ctx context.Context, c *Config) error {
	client, err := adminClient(c)
	if err != nil {
		return err
	}
	_, err = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	return err
}

func statusOfObjects(ctx context.Context, c *Config) (rows []Row, healthy bool) {
	add := func(name, format string, args ...any) { rows = append(rows, Row{name, fmt.Sprintf(format, args...)}) }
	if err := apiReady(ctx, c); err != nil {
		add("API server", "not ready: %v", err)
		return rows, false
	}
	add("API server", "https://127.0.0.1:%d is ready", c.SecurePort)
	client, err := adminClient(c)
	if err != nil {
		add("API server", "%v", err)
		return rows, false
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		add("nodes", "%v", err)
		return rows, false
	}
	healthy = true
	for i := range nodes.Items {
		state := nodeState(&nodes.Items[i])
		healthy = healthy && state == "Ready"
		add("node", "%s is %s", nodes.Items[i].Name, state)
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		add("pods", "%v", err)
		return rows, false
	}
	running := 0
	for i := range pods.Items {
		if pods.Items[i].Status.Phase == corev1.PodRunning {
			running++
		}
	}
	add("pods", "%d, of which %d run", len(pods.Items), running)
	return rows, healthy
}

func nodeState(n *corev1.Node) string {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return "Ready"
		}
	}
	return "NotReady"
}

// resident is the memory that a process holds, for people.
func resident(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "nothing"
	}
	_, rest, _ := bytes.Cut(data, []byte("VmRSS:"))
	fields := strings.Fields(string(rest))
	if len(fields) == 0 {
		return "nothing"
	}
	kib, err := strconv.Atoi(fields[0])
	if err != nil {
		return "nothing"
	}
	return fmt.Sprintf("%d MiB", kib>>10)
}
