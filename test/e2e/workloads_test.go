package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const replicationController = `
apiVersion: v1
kind: ReplicationController
metadata: {name: %[1]s}
spec:
  replicas: %[2]d
  selector: {app: %[3]s}
  template:
    metadata: {labels: {app: %[3]s}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "3600"]}
`

func TestS05ReplicationController(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.kubectl("create", "-f", writeFile(t, fmt.Sprintf(replicationController, "web", 2, "web")))
	n.awaitReady("app=web", 2)
	n.eventually("the status to say so", func() (bool, string) {
		out := n.kubectl("get", "rc", "web", "--no-headers")
		f := strings.Fields(out)
		return len(f) >= 4 && f[1] == "2" && f[2] == "2" && f[3] == "2", out
	})
	n.kubectl("scale", "rc", "web", "--replicas=3")
	pods := n.awaitReady("app=web", 3)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	edit := n.command(ctx, "edit", "rc", "web")
	edit.Env = append(edit.Env, "KUBE_EDITOR=sh "+writeFile(t, `sed -i 's/^metadata:/metadata:\n  annotations:\n    edited-by: hand/' "$1"`))
	if out, err := edit.CombinedOutput(); err != nil || !strings.Contains(string(out), "edited") {
		t.Errorf("kubectl edit: %v: %s", err, out)
	}
	if got := n.kubectl("get", "rc", "web", "-o", "jsonpath={.metadata.annotations.edited-by}"); got != "hand" {
		t.Errorf("after kubectl edit the annotation is %q", got)
	}

	// A killed process is restarted in its pod; a deleted pod is replaced; a relabelled one too.
	killMain(n, pods[0].Name, "main")
	n.awaitPod(pods[0].Name, "restarted", func(p *corev1.Pod) bool { return restarts(p, "main") == 1 && ready(p) })
	n.kubectl("delete", "pod", pods[1].Name)
	n.awaitReady("app=web", 3)
	n.kubectl("label", "pod", pods[2].Name, "app=free", "--overwrite")
	n.awaitReady("app=web", 3)
	if free := n.awaitReady("app=free", 1)[0]; len(free.OwnerReferences) != 0 {
		t.Errorf("the relabelled pod was not released: %v", free.OwnerReferences)
	}
	n.kubectl("replace", "-f", writeFile(t, fmt.Sprintf(replicationController, "web", 1, "web")))
	n.awaitReady("app=web", 1)

	// Orphans survive, and are adopted by a new controller with the same selector.
	survivor := n.awaitReady("app=web", 1)[0]
	n.kubectl("delete", "rc", "web", "--cascade=orphan")
	n.refused([]string{"get", "rc", "web"}, "not found")
	n.awaitPod(survivor.Name, "orphaned", func(p *corev1.Pod) bool { return len(p.OwnerReferences) == 0 && ready(p) })
	n.apply(fmt.Sprintf(replicationController, "web2", 1, "web"))
	n.awaitPod(survivor.Name, "adopted", func(p *corev1.Pod) bool {
		return len(p.OwnerReferences) == 1 && p.OwnerReferences[0].Name == "web2"
	})
	n.kubectl("delete", "rc", "web2", "--timeout=60s")
	n.awaitReady("app=web", 0)
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  revisionHistoryLimit: 2
  progressDeadlineSeconds: 600
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: workload
        imagePullPolicy: IfNotPresent
        args: [serve]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
`

func TestS07Deployment(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(deployment)
	n.kubectl("rollout", "status", "deployment/web", "--timeout=80s")
	// 25 % of 3: none may be missing, one may be too many; and one more when it is scaled to 4.
	watchRollout(n, 3, 4+1)
	for _, tag := range []string{"v2", "v3"} {
		n.kubectl("set", "image", "deployment/web", "main=workload:"+tag)
		n.kubectl("rollout", "status", "deployment/web", "--timeout=80s")
	}
	n.kubectl("rollout", "undo", "deployment/web")
	n.kubectl("rollout", "status", "deployment/web", "--timeout=80s")
	if image := n.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"); image != "workload:v2" {
		t.Errorf("after undo the image is %s", image)
	}
	if out := n.kubectl("rollout", "history", "deployment/web"); !lineWith(out, "4") || lineWith(out, "2  ") {
		t.Errorf("history after three changes and an undo:\n%s", out)
	}
	n.kubectl("rollout", "restart", "deployment/web")
	n.kubectl("rollout", "status", "deployment/web", "--timeout=80s")
	n.eventually("old replica sets to be cleaned up", func() (bool, string) {
		out := n.kubectl("get", "rs", "-o", "name")
		return strings.Count(out, "\n") <= 3, out
	})

	n.kubectl("rollout", "pause", "deployment/web")
	n.kubectl("set", "image", "deployment/web", "main=workload:v3")
	n.kubectl("scale", "deployment/web", "--replicas=4")
	n.awaitReady("app=web", 4)
	for _, p := range n.awaitReady("app=web", 4) {
		if image := p.Spec.Containers[0].Image; image != "workload:v2" {
			t.Errorf("a paused deployment rolled out %s", image)
		}
	}
	n.kubectl("rollout", "resume", "deployment/web")
	n.kubectl("rollout", "status", "deployment/web", "--timeout=80s")
}

func TestS07BadImageAndDeadline(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(strings.Replace(deployment, "progressDeadlineSeconds: 600", "progressDeadlineSeconds: 5", 1))
	n.kubectl("rollout", "status", "deployment/web", "--timeout=80s")
	n.kubectl("set", "image", "deployment/web", "main=127.0.0.1:1/none:v1")
	if out, err := n.try("rollout", "status", "deployment/web", "--timeout=80s"); err == nil || !strings.Contains(err.Error(), "exceeded its progress deadline") {
		t.Errorf("rollout status of a bad image: %v, %s", err, out)
	}
	available := n.kubectl("get", "deployment", "web", "-o", "jsonpath={.status.availableReplicas}")
	if available != "3" {
		t.Errorf("%s old pods are available while the new image can't be pulled; 25%% of 3 may be missing, rounded down", available)
	}
	n.kubectl("rollout", "undo", "deployment/web")
	n.kubectl("rollout", "status", "deployment/web", "--timeout=80s")
}

func TestS07Recreate(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(strings.Replace(deployment, "revisionHistoryLimit: 2", "strategy: {type: Recreate}", 1))
	n.kubectl("rollout", "status", "deployment/web", "--timeout=80s")
	watchVersions(n)
	n.kubectl("set", "image", "deployment/web", "main=workload:v2")
	n.kubectl("rollout", "status", "deployment/web", "--timeout=80s")
}

// watchRollout checks until the test ends that the deployment "web" keeps at least least pods ready
// and never has more than most, at every instant that a watch shows.
func watchRollout(n *namespace, least, most int) {
	watchPods(n, func(pods map[string]*corev1.Pod) string {
		total, available := 0, 0
		for _, p := range pods {
			if p.DeletionTimestamp == nil {
				total++
				if ready(p) {
					available++
				}
			}
		}
		if available < least || total > most {
			return fmt.Sprintf("%d ready of %d, want %d ready and %d at most", available, total, least, most)
		}
		return ""
	})
}

// watchVersions checks until the test ends that pods of two images never run at once.
func watchVersions(n *namespace) {
	watchPods(n, func(pods map[string]*corev1.Pod) string {
		images := map[string]bool{}
		for _, p := range pods {
			if p.Status.Phase == corev1.PodRunning {
				images[p.Spec.Containers[0].Image] = true
			}
		}
		if len(images) > 1 {
			return fmt.Sprintf("images %v run at once", images)
		}
		return ""
	})
}

// watchPods calls check after each change of a pod of "web", and fails the test with what it returns.
func watchPods(n *namespace, check func(map[string]*corev1.Pod) string) {
	n.t.Helper()
	pods := map[string]*corev1.Pod{}
	list, err := suite.client.CoreV1().Pods(n.name).List(n.t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		n.t.Fatal(err)
	}
	for i := range list.Items {
		pods[list.Items[i].Name] = &list.Items[i]
	}
	w, err := suite.client.CoreV1().Pods(n.name).Watch(n.t.Context(), metav1.ListOptions{LabelSelector: "app=web", ResourceVersion: list.ResourceVersion})
	if err != nil {
		n.t.Fatal(err)
	}
	done := make(chan struct{})
	n.t.Cleanup(func() {
		w.Stop()
		<-done
	})
	go func() {
		defer close(done)
		for e := range w.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok {
				return
			}
			if pods[p.Name] = p; e.Type == "DELETED" {
				delete(pods, p.Name)
			}
			if n.t.Context().Err() != nil {
				return // the namespace is being removed
			}
			if fault := check(pods); fault != "" {
				n.t.Error(fault)
				return
			}
		}
	}()
}
