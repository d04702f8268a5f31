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
