package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// server is a pod template's content that serves HTTP on port 8080.
const server = `{name: main, image: workload, imagePullPolicy: IfNotPresent, args: [serve], ports: [{containerPort: 8080, name: http}]}`

const primary = `
apiVersion: v1
kind: ReplicationController
metadata: {name: primary, labels: {app: primary}}
spec:
  replicas: %d
  selector: {app: primary}
  template:
    metadata: {labels: {app: primary}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - ` + server + `
---
apiVersion: v1
kind: Service
metadata: {name: primary}
spec: {selector: {app: primary}, ports: [{port: 6379, targetPort: http}]}
`

// contains checks an output for texts.
func (n *namespace) contains(out string, texts ...string) {
	n.t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			n.t.Errorf("there is no %q in\n%s", text, out)
		}
	}
}

// TestCLIServer are the commands that ask the server about itself.
func TestCLIServer(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	if out := n.kubectl("api-versions"); !strings.Contains("\n"+out, "\nv1\n") {
		t.Errorf("kubectl api-versions has no v1:\n%s", out)
	}
	n.contains(n.kubectl("cluster-info"), "Kubernetes control plane", "is running at", suite.config.Host)
	out := n.kubectl("version", "-o", "yaml")
	for _, field := range []string{"major:", "minor:", "gitVersion:", "gitCommit:", "buildDate:", "goVersion:", "platform:"} {
		if strings.Count(out, field) < 2 {
			t.Errorf("kubectl version has no %s of client and server:\n%s", field, out)
		}
	}
}

// TestCLIProxy asks for the API's versions through kubectl proxy, on a free port and on a socket.
func TestCLIProxy(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	socket := filepath.Join(t.TempDir(), "proxy.sock")
	for name, flag := range map[string]string{"port": "--port=0", "socket": "--unix-socket=" + socket} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := n.command(ctx, "proxy", flag)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		address, ok := strings.CutPrefix(strings.TrimSpace(line), "Starting to serve on ")
		if err != nil || !ok {
			t.Fatalf("kubectl proxy %s says %q: %v", flag, line, err)
		}
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if name == "socket" {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			}
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}}}
		var versions struct{ Versions []string }
		if resp, err := client.Get("http://localhost/api/"); err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			if err := json.NewDecoder(resp.Body).Decode(&versions); err != nil || len(versions.Versions) == 0 {
				t.Errorf("%s: the versions are %v, %v", name, versions.Versions, err)
			}
			resp.Body.Close()
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// TestCLIDescribe describes a controller, its pod and service, the node and the namespace.
func TestCLIDescribe(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(fmt.Sprintf(primary, 1))
	pod := n.awaitReady("app=primary", 1)[0]
	n.contains(n.kubectl("describe", "pod", pod.Name), "Name:", pod.Name, "Namespace:", n.name, "Node:", "Labels:", "app=primary", "Status:", "Running",
		"IP:", "Controlled By:", "ReplicationController/primary", "Image:", "State:", "QoS Class:")
	n.eventually("the controller to say that its pod runs", func() (bool, string) {
		out := n.kubectl("describe", "rc", "primary")
		return strings.Contains(out, "1 Running / 0 Waiting / 0 Succeeded / 0 Failed"), out
	})
	n.contains(n.kubectl("describe", "rc", "primary"), "Name:", "primary", "Namespace:", n.name, "Selector:", "app=primary", "Labels:", "Annotations:",
		"Replicas:", "1 current", "1 desired", "Pods Status:", "Pod Template:", "Image:", "Events:")
	n.contains(n.kubectl("describe", "service", "primary"), "Name:", "primary", "Namespace:", n.name, "Labels:", "Annotations:", "Selector:", "app=primary",
		"Type:", "ClusterIP", "IP:", "Port:", "6379/TCP", "Endpoints:", "Session Affinity:")
	n.contains(n.kubectl("describe", "node", pod.Spec.NodeName), "Name:", pod.Spec.NodeName, "Labels:", "Annotations:", "CreationTimestamp:", "Conditions:", "Type",
		"Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message", "Addresses:", "Capacity:", "Version:", "Kernel Version:", "Container Runtime Version:", "Kubelet Version:")
	n.contains(n.kubectl("describe", "namespace", n.name), "Name:", n.name, "Labels:", "Annotations:", "Status:", "Active", "No resource quota", "No LimitRange resource")
}

// TestCLIDiff compares a live Deployment with a declared one.
func TestCLIDiff(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(deployment)
	out, err := n.try("diff", "-f", writeFile(t, strings.Replace(deployment, "image: workload", "image: busybox:1.29", 1)))
	if err == nil {
		t.Errorf("kubectl diff finds no difference: %s", out)
	}
	n.contains(out, "-        image: workload", "+        image: busybox:1.29")
	if out := n.kubectl("diff", "-f", writeFile(t, deployment)); out != "" {
		t.Errorf("kubectl diff of the same: %s", out)
	}
}

// TestCLIExpose makes services of a controller and of a service.
func TestCLIExpose(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(fmt.Sprintf(primary, 1))
	pod := n.awaitReady("app=primary", 1)[0]
	n.kubectl("expose", "rc", "primary", "--name=rm2", "--port=1234", "--target-port=8080")
	n.kubectl("expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=8080")
	for name, port := range map[string]string{"rm2": "1234", "rm3": "2345"} {
		if got := n.kubectl("get", "service", name, "-o", "jsonpath={.spec.ports[0].port} {.spec.ports[0].targetPort}"); got != port+" 8080" {
			t.Errorf("%s has ports %s", name, got)
		}
		n.eventually(name+" to answer", func() (bool, string) {
			out, err := n.try("exec", pod.Name, "--", "/bin/workload", "get", "http://"+name+":"+port+"/hostname")
			return err == nil && strings.TrimSpace(out) == pod.Name, fmt.Sprint(out, err)
		})
	}
}

// TestCLILabelAndPatch labels and annotates running pods, and takes a label away.
func TestCLILabelAndPatch(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(fmt.Sprintf(primary, 2))
	pods := n.awaitReady("app=primary", 2)
	n.kubectl("label", "pods", pods[0].Name, "testing-label=testing-label-value")
	if out := n.kubectl("get", "pod", pods[0].Name, "-L", "testing-label"); !strings.Contains(out, "testing-label-value") {
		t.Errorf("the label is not shown:\n%s", out)
	}
	if out := n.kubectl("get", "pods", "-l", "testing-label", "-o", "name"); strings.TrimSpace(out) != "pod/"+pods[0].Name {
		t.Errorf("the label selects %s", out)
	}
	n.kubectl("label", "pods", pods[0].Name, "testing-label-")
	if out := n.kubectl("get", "pods", "-l", "testing-label", "-o", "name"); out != "" {
		t.Errorf("the removed label selects %s", out)
	}
	for _, p := range pods {
		n.kubectl("patch", "pod", p.Name, "-p", `{"metadata":{"annotations":{"x":"y"}}}`)
	}
	for _, p := range n.awaitReady("app=primary", 2) {
		if p.Annotations["x"] != "y" {
			t.Errorf("pod %s has annotations %v", p.Name, p.Annotations)
		}
	}
}

// TestCLIRunAndReplace runs a pod, updates it dry, and replaces its image and the whole of it.
func TestCLIRunAndReplace(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.kubectl("run", "once", "--restart=Never", "--image=busybox", "--image-pull-policy=Never", "--", "true")
	n.awaitPod("once", "succeeded", func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded && len(p.Spec.Containers) == 1 && p.Spec.Containers[0].Image == "busybox" && p.Spec.RestartPolicy == corev1.RestartPolicyNever
	})
	n.kubectl("run", "p", "--image=workload", "--image-pull-policy=Never", "--labels=run=p", "--", "serve")
	first := n.awaitPod("p", "ready", ready)
	image := func() string { return n.kubectl("get", "pod", "p", "-o", "jsonpath={.spec.containers[0].image}") }
	out := n.kubectl("patch", "pod", "p", "-p", `{"spec":{"containers":[{"name":"p","image":"workload:v2"}]}}`, "--dry-run=server", "-o", "jsonpath={.spec.containers[0].image}")
	if out != "workload:v2" || image() != "workload" {
		t.Errorf("dry, the patch makes the image %s; after it, it is %s", out, image())
	}
	manifest := n.kubectl("get", "pod", "p", "-o", "json")
	n.kubectl("replace", "-f", writeFile(t, strings.ReplaceAll(manifest, `"image": "workload"`, `"image": "workload:v2"`)))
	if got := image(); got != "workload:v2" {
		t.Errorf("after kubectl replace the image is %s", got)
	}
	n.kubectl("replace", "--force", "-f", writeFile(t, strings.ReplaceAll(strings.ReplaceAll(manifest, first.ResourceVersion, ""), `"image": "workload"`, `"image": "workload:v3"`)))
	n.awaitPod("p", "made anew", func(p *corev1.Pod) bool {
		return p.UID != first.UID && ready(p) && p.Spec.Containers[0].Image == "workload:v3"
	})
}

// TestCLIUpdateDemo creates, scales and removes a controller.
func TestCLIUpdateDemo(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(fmt.Sprintf(primary, 2))
	n.awaitReady("app=primary", 2)
	for _, count := range []int{1, 2} {
		n.kubectl("scale", "rc", "primary", fmt.Sprint("--replicas=", count), "--timeout=5m")
		for _, p := range n.awaitReady("app=primary", count) {
			n.eventually(p.Name+" to answer", func() (bool, string) {
				out, err := n.try("exec", p.Name, "--", "/bin/workload", "get", "http://localhost:8080/hostname")
				return err == nil && strings.TrimSpace(out) == p.Name, fmt.Sprint(out, err)
			})
		}
	}
	n.kubectl("delete", "--grace-period=0", "--force", "rc", "primary")
	n.awaitReady("app=primary", 0)
}

// TestCLILogs filters a log by lines, bytes and time.
func TestCLILogs(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.kubectl("run", "p", "--image=busybox", "--image-pull-policy=Never", "--restart=Never", "--", "sh", "-c", "for i in $(seq 1 100); do echo line $i; done; sleep 2; while true; do echo late; sleep 0.3; done")
	n.awaitPod("p", "ready", ready)
	n.eventually("the log to go on", func() (bool, string) {
		out := n.kubectl("logs", "p")
		return strings.Contains(out, "line 1\n") && strings.Contains(out, "late"), out
	})
	if out := n.kubectl("logs", "p", "--tail=1"); strings.Count(out, "\n") != 1 {
		t.Errorf("--tail=1: %q", out)
	}
	if out := n.kubectl("logs", "p", "--limit-bytes=1"); out != "l" {
		t.Errorf("--limit-bytes=1: %q", out)
	}
	out := n.kubectl("logs", "p", "--tail=1", "--timestamps")
	stamp, rest, _ := strings.Cut(out, " ")
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil || strings.Count(rest, "\n") != 1 {
		t.Errorf("--timestamps: %q, %v", out, err)
	}
	recent, all := n.kubectl("logs", "p", "--since=1s"), n.kubectl("logs", "p", "--since=24h")
	if strings.Contains(recent, "line 1\n") || !regexp.MustCompile(`(?m)^line 1$`).MatchString(all) {
		t.Errorf("--since=1s has %d bytes, --since=24h %d", len(recent), len(all))
	}
}
