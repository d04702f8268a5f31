package e2e

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// spender has a container that burns a fifth of a processor and one that holds 32 MiB.
const spender = `
apiVersion: v1
kind: Pod
metadata: {name: spender}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: shm, emptyDir: {medium: Memory}}]
  containers:
  - name: cpu
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "while :; do :; done"]
    resources: {requests: {cpu: 200m}, limits: {cpu: 200m}}
  - name: memory
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "head -c 33554432 /dev/zero > /shm/block; sleep 3600"]
    volumeMounts: [{name: shm, mountPath: /shm}]
`

// usageMicroseconds finds the processor time in cgroup v2's cpu.stat, or what v1 has in nanoseconds.
var usageMicroseconds = regexp.MustCompile(`usage_usec (\d+)`)

// spent is the processor time of the container cpu so far, as its cgroup has it.
func spent(n *namespace) time.Duration {
	n.t.Helper()
	out := n.kubectl("exec", "spender", "-c", "cpu", "--", "sh", "-c", "cat /sys/fs/cgroup/cpu.stat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null || true")
	if m := usageMicroseconds.FindStringSubmatch(out); m != nil {
		us, _ := strconv.ParseInt(m[1], 10, 64)
		return time.Duration(us) * time.Microsecond
	}
	lines := strings.Fields(out)
	ns, err := strconv.ParseInt(lines[len(lines)-1], 10, 64)
	if err != nil {
		n.t.Fatalf("the container's cgroup says %q", out)
	}
	return time.Duration(ns)
}

// top reads a line of kubectl top: what comes after the name that it is about.
func top(out, name string) (cpu, memory float64, ok bool) {
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		for i, word := range f {
			if word != name || len(f) < i+3 {
				continue
			}
			q, errCPU := resource.ParseQuantity(f[i+1])
			m, errMemory := resource.ParseQuantity(f[len(f)-1])
			if errCPU == nil && errMemory == nil {
				return q.AsApproximateFloat64(), m.AsApproximateFloat64(), true
			}
		}
	}
	return 0, 0, false
}

func TestS39Top(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(spender)
	n.awaitPod("spender", "ready", ready)
	started := time.Now()
	n.eventually("its figures", func() (bool, string) {
		out, err := n.try("top", "pod", "spender", "--containers")
		_, _, known := top(out, "cpu")
		return known, fmt.Sprint(out, err)
	})
	t.Logf("known after %v", time.Since(started))

	// The figure is of the last 15 seconds; as long as the load is even, that of any other 15 is the same.
	before, since := spent(n), time.Now()
	n.eventually("its use of CPU to be right to 10 %, and of memory", func() (bool, string) {
		out := n.kubectl("top", "pod", "spender", "--containers")
		cpu, _, _ := top(out, "cpu")
		_, memory, _ := top(out, "memory")
		rate := float64(spent(n)-before) / float64(time.Since(since))
		near := math.Abs(cpu-rate) <= math.Max(rate/10, 0.002) && math.Abs(memory-float64(33<<20)) <= float64(4<<20)
		return near && time.Since(since) > 5*time.Second, fmt.Sprintf("%s; by the cgroup it uses %.3f processors", out, rate)
	})

	node := n.kubectl("get", "pod", "spender", "-o", "jsonpath={.spec.nodeName}")
	if out := n.kubectl("top", "node", node, "--no-headers"); !strings.HasPrefix(out, node) || strings.Count(out, "%") != 2 {
		t.Errorf("kubectl top node prints %q", out)
	}
	if out := n.kubectl("top", "pods", "--sum"); !strings.Contains(out, "spender") {
		t.Errorf("kubectl top pods prints %q", out)
	}
}

// publisher has a queue of 30 entries, as its metrics say. Its page is a file.
const publisher = `
apiVersion: v1
kind: ConfigMap
metadata: {name: metrics}
data:
  metrics: |
    # TYPE queue_length gauge
    queue_length{queue="in"} 20
    queue_length{queue="out"} 10
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker}
spec:
  selector: {matchLabels: {app: worker}}
  template:
    metadata:
      labels: {app: worker}
      annotations: {prometheus.io/scrape: "true", prometheus.io/port: "8080"}
    spec:
      terminationGracePeriodSeconds: 1
      volumes: [{name: www, configMap: {name: metrics}}]
      containers:
      - name: main
        image: busybox
        imagePullPolicy: IfNotPresent
        command: [busybox, httpd, -f, -p, "8080", -h, /www]
        volumeMounts: [{name: www, mountPath: /www}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: worker}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: worker}
  minReplicas: 1
  maxReplicas: 2
  metrics:
  - type: Pods
    pods:
      metric: {name: queue_length, selector: {matchLabels: {queue: in}}}
      target: {type: AverageValue, averageValue: "8"}
`

// TestS15CustomMetrics: what pods publish about themselves is served, and followed by autoscalers.
func TestS15CustomMetrics(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(publisher)
	pod := n.awaitReady("app=worker", 1)[0].Name
	base := "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + n.name
	for path, want := range map[string]string{
		base + "/pods/" + pod + "/queue_length":                                                                  `"value":"30"`,
		base + "/deployments.apps/worker/queue_length?metricLabelSelector=queue%3Dout":                           `"kind":"Deployment"`,
		"/apis/external.metrics.k8s.io/v1beta1/namespaces/" + n.name + "/queue_length?labelSelector=queue%3Dout": `"value":"10"`,
	} {
		n.eventually("the metric at "+path, func() (bool, string) {
			out, err := n.try("get", "--raw", path)
			return strings.Contains(out, want), fmt.Sprint(out, err)
		})
	}
	n.refused([]string{"get", "--raw", base + "/pods/*/unknown"}, "could not find the metric unknown for pods")
	n.awaitReady("app=worker", 2) // the queue is longer than one of them should have
}
