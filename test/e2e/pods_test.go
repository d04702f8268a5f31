package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sleeper is a pod that does nothing until it is told to end.
const sleeper = `
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: %s}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "3600"]}
`

func TestS04Pod(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(fmt.Sprintf(sleeper, "p", "p"))
	n.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=60s")
	if out := n.kubectl("get", "pod", "p", "--no-headers"); !lineWith(out, "p", "1/1", "Running", "0") {
		t.Errorf("kubectl get: %s", out)
	}
	pod := n.awaitPod("p", "running", ready)
	if out := n.kubectl("get", "pod", "p", "-o", "wide"); !lineWith(out, pod.Status.PodIP, pod.Spec.NodeName) || pod.Status.PodIP == "" {
		t.Errorf("kubectl get -o wide shows no address or node: %s", out)
	}
	var order []string
	for _, reason := range []string{"Scheduled", "Pulled", "Created", "Started"} {
		n.awaitEvent("p", reason)
	}
	events, err := suite.client.CoreV1().Events(n.name).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=p"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events.Items {
		order = append(order, e.Reason)
	}
	describe := n.kubectl("describe", "pod", "p")
	for _, want := range []string{"Successfully assigned " + n.name + "/p to ", `Container image "busybox" already present on machine`, "Status:", "Running", "PodScheduled", "kube-api-access-", "QoS Class:", "BestEffort"} {
		if !strings.Contains(describe, want) {
			t.Errorf("kubectl describe does not contain %q (events: %v):\n%s", want, order, describe)
		}
	}
	n.kubectl("delete", "pod", "p", "--timeout=60s")
	n.refused([]string{"get", "pod", "p"}, `pods "p" not found`)
}

func TestS04ImageThatCannotBePulled(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.kubectl("run", "p", "--image=127.0.0.1:1/none:v1")
	seen := map[string]bool{}
	n.awaitPod("p", "in ImagePullBackOff", func(p *corev1.Pod) bool {
		for _, c := range p.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil {
				seen[w.Reason] = true
				if w.Reason == "ErrImagePull" && !strings.Contains(w.Message, "connection refused") {
					t.Errorf("the message is not the registry's own error: %s", w.Message)
				}
			}
		}
		return seen["ErrImagePull"] && seen["ImagePullBackOff"]
	})
	n.awaitEvent("p", "Pulling")
	n.awaitEvent("p", "BackOff")
	if e := n.awaitEvent("p", "Failed"); !strings.Contains(e.Message, "127.0.0.1:1/none:v1") {
		t.Errorf("the event does not name the image: %s", e.Message)
	}
}

func TestS12TwoContainersShare(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.kubectl("apply", "-f", "testdata/pod-two-containers.yaml")
	n.kubectl("wait", "--for=condition=Ready", "pod/pod1", "--timeout=60s")
	ip := func(container string) string {
		return n.kubectl("exec", "pod1", "-c", container, "--", "hostname", "-i")
	}
	if a, b := ip("writer"), ip("server"); a != b {
		t.Errorf("addresses differ: %s and %s", a, b)
	}
	read := func() string {
		out, err := n.try("exec", "pod1", "-c", "writer", "--", "wget", "-q", "-O", "-", "http://localhost:8080/out")
		if err != nil {
			return err.Error()
		}
		return out
	}
	n.eventually("the file to be served on localhost", func() (bool, string) {
		out := read()
		return strings.Contains(out, ":"), out
	})
	first, _, _ := strings.Cut(read(), "\n")
	// A System V queue made by one container is seen by the other: they share the IPC namespace.
	if a, b := n.kubectl("exec", "pod1", "-c", "writer", "--", "readlink", "/proc/self/ns/ipc"), n.kubectl("exec", "pod1", "-c", "server", "--", "readlink", "/proc/self/ns/ipc"); a != b {
		t.Errorf("IPC namespaces differ: %s and %s", a, b)
	}
	killMain(n, "pod1", "writer")
	n.awaitPod("pod1", "restarted", func(p *corev1.Pod) bool { return restarts(p, "writer") == 1 && ready(p) })
	if again, _, _ := strings.Cut(read(), "\n"); again != first {
		t.Errorf("the file did not survive the container: it began %q, now %q", first, again)
	}
}

// killMain ends the main process of a container, as the kernel or a fault would.
func killMain(n *namespace, pod, container string) {
	n.t.Helper()
	// A namespace's first process ignores signals from within that it has no handler for, even
	// SIGKILL; so the signal comes from outside, from the node.
	p, err := suite.client.CoreV1().Pods(n.name).Get(n.t.Context(), pod, metav1.GetOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.Name == container {
			killContainer(n.t, strings.TrimPrefix(c.ContainerID, "containerd://"))
			return
		}
	}
	n.t.Fatalf("pod %s has no container %s", pod, container)
}

func restarts(p *corev1.Pod, container string) int32 {
	for _, c := range p.Status.ContainerStatuses {
		if c.Name == container {
			return c.RestartCount
		}
	}
	return -1
}

func TestS13Limits(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(`
apiVersion: v1
kind: Pod
metadata: {name: limited}
spec:
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sleep, "3600"]
    resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 250m, memory: 64Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: hog}
spec:
  containers:
  - name: main
    image: workload
    imagePullPolicy: IfNotPresent
    args: [hog, "268435456"]
    resources: {limits: {memory: 32Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: huge}
spec:
  containers:
  - {name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "3600"], resources: {requests: {cpu: "1000"}}}
`)
	n.awaitPod("limited", "ready", ready)
	memory := n.exec("limited", "sh", "-c", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || true")
	if strings.TrimSpace(memory) != strconv.Itoa(64<<20) {
		t.Errorf("the memory limit in the container's cgroup is %q", memory)
	}
	cpu := n.exec("limited", "sh", "-c", "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || true")
	if !strings.HasPrefix(cpu, "25000") {
		t.Errorf("the CPU quota in the container's cgroup is %q, want 25000 of 100000", cpu)
	}
	hog := n.awaitPod("hog", "killed and in CrashLoopBackOff", func(p *corev1.Pod) bool {
		c := p.Status.ContainerStatuses
		return len(c) == 1 && c[0].RestartCount >= 1 && c[0].State.Waiting != nil && c[0].State.Waiting.Reason == "CrashLoopBackOff"
	})
	if last := hog.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.Reason != "OOMKilled" || last.ExitCode != 137 {
		t.Errorf("the last state of the hog is %+v, want OOMKilled with 137", last)
	}
	n.awaitEvent("hog", "BackOff")
	if e := n.awaitEvent("huge", "FailedScheduling"); !strings.Contains(e.Message, "0/1 nodes are available: 1 Insufficient cpu.") {
		t.Errorf("the event says %q", e.Message)
	}
}

func TestS20Probes(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(`
apiVersion: v1
kind: Pod
metadata: {name: probed, labels: {app: probed}}
spec:
  readinessGates: [{conditionType: example.com/gate}]
  containers:
  - name: http
    image: workload
    imagePullPolicy: IfNotPresent
    args: [serve, --http, "8080"]
    startupProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 30}
    readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 1}
  - name: grpc
    image: workload
    imagePullPolicy: IfNotPresent
    args: [serve, --http, "8081", --grpc, "9000"]
    readinessProbe: {grpc: {port: 9000}, periodSeconds: 1}
  - name: tcp
    image: workload
    imagePullPolicy: IfNotPresent
    args: [serve, --http, "8082"]
    readinessProbe: {tcpSocket: {port: 8082}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: probed}
spec: {selector: {app: probed}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: sick}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "touch /tmp/well; sleep 3600"]
    livenessProbe: {exec: {command: [cat, /tmp/well]}, periodSeconds: 1, failureThreshold: 2}
`)
	condition := func(p *corev1.Pod, kind corev1.PodConditionType) corev1.ConditionStatus {
		for _, c := range p.Status.Conditions {
			if c.Type == kind {
				return c.Status
			}
		}
		return ""
	}
	pod := n.awaitPod("probed", "waiting for its gate only", func(p *corev1.Pod) bool {
		return condition(p, corev1.ContainersReady) == corev1.ConditionTrue
	})
	if ready(pod) {
		t.Error("the pod is Ready before its readiness gate is")
	}
	n.kubectl("patch", "pod", "probed", "--subresource=status", "-p", `{"status":{"conditions":[{"type":"example.com/gate","status":"True"}]}}`)
	n.awaitPod("probed", "ready", ready)
	endpoints := func() string {
		return n.kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name=probed", "-o", "jsonpath={.items[*].endpoints[*].conditions.ready}")
	}
	n.eventually("the endpoint to be ready", func() (bool, string) { out := endpoints(); return out == "true", out })
	post := func(path string) {
		n.kubectl("exec", "probed", "-c", "tcp", "--", "/bin/workload", "post", "http://localhost:8080"+path)
	}
	post("/unhealthy")
	n.awaitPod("probed", "unready", func(p *corev1.Pod) bool { return !ready(p) })
	n.eventually("the endpoint to leave", func() (bool, string) { out := endpoints(); return out == "false", out })
	n.awaitEvent("probed", "Unhealthy")
	post("/healthy")
	n.awaitPod("probed", "ready again", ready)

	n.awaitPod("sick", "ready", ready)
	n.exec("sick", "rm", "/tmp/well")
	n.awaitPod("sick", "restarted by its liveness probe", func(p *corev1.Pod) bool { return restarts(p, "main") == 1 && ready(p) })
	if e := n.awaitEvent("sick", "Killing"); !strings.Contains(e.Message, "failed liveness probe, will be restarted") {
		t.Errorf("the event says %q", e.Message)
	}
}

func TestS22HostPortAndHostNetwork(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	pod := func(name, extra, port string) string {
		return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  %s
  containers:
  - name: main
    image: workload
    imagePullPolicy: IfNotPresent
    args: [serve, --http, "%s"]
    ports: [{containerPort: %s%s}]
`, name, extra, port, port, map[bool]string{true: ", hostPort: 18080"}[extra == ""])
	}
	n.apply(pod("mapped", "", "8080"))
	n.apply(pod("host", "hostNetwork: true", "18081"))
	node := n.awaitPod("mapped", "ready", ready).Status.HostIP
	host := n.awaitPod("host", "ready", ready)
	if host.Status.PodIP != node {
		t.Errorf("a pod in the host's network has address %s, the node has %s", host.Status.PodIP, node)
	}
	n.eventually("the host's port to answer", func() (bool, string) {
		out := fetch(t, fmt.Sprintf("http://%s:18080/hostname", node))
		return out == "mapped\n", out
	})
	n.eventually("the port of the pod in the host's network to answer", func() (bool, string) {
		out := fetch(t, fmt.Sprintf("http://%s:18081/healthz", node))
		return out == "ok\n", out
	})
	n.apply(pod("second", "", "8080"))
	if e := n.awaitEvent("second", "FailedScheduling"); !strings.Contains(e.Message, "didn't have free ports for the requested pod ports") {
		t.Errorf("the event says %q", e.Message)
	}
}
