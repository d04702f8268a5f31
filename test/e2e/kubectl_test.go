package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// patience bounds every wait for the cluster; nothing is expected to take nearly as long.
const patience = 90 * time.Second

// namespace is a test's own part of the cluster.
type namespace struct {
	t    *testing.T
	name string
}

// newNamespace makes a namespace named after the test, and removes it when the test ends. After a
// failure it first shows what is in it.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	ns, err := suite.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())) + "-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := &namespace{t, ns.Name}
	t.Cleanup(func() {
		if t.Failed() {
			n.dump()
		}
		if err := suite.client.CoreV1().Namespaces().Delete(context.Background(), n.name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *namespace) dump() {
	for _, args := range [][]string{{"get", "all,endpoints,endpointslices", "-o", "wide"}, {"get", "events", "--sort-by=.lastTimestamp"}} {
		out, _ := n.command(context.Background(), args...).CombinedOutput()
		n.t.Logf("kubectl %s\n%s", strings.Join(args, " "), out)
	}
}

// command is kubectl in the namespace, as a user of the cluster's administrator.
func (n *namespace) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(suite.project, "bin", "kubectl"), append([]string{"--namespace", n.name}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+suite.kubeconfig)
	return cmd
}

// kubectl runs kubectl and returns what it prints; the test ends if it fails.
func (n *namespace) kubectl(args ...string) string {
	n.t.Helper()
	out, err := n.try(args...)
	if err != nil {
		n.t.Fatalf("kubectl %s: %v; it printed %s", strings.Join(args, " "), err, out)
	}
	return out
}

// try runs kubectl; the error holds what it wrote to standard error.
func (n *namespace) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	cmd := n.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// refused runs kubectl, which must fail with a message that contains each of texts.
func (n *namespace) refused(args []string, texts ...string) {
	n.t.Helper()
	out, err := n.try(args...)
	if err == nil {
		n.t.Fatalf("kubectl %s: succeeded, and printed %s", strings.Join(args, " "), out)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			n.t.Errorf("kubectl %s: message %q does not contain %q", strings.Join(args, " "), err, text)
		}
	}
}

// apply creates or updates the objects of a YAML text.
func (n *namespace) apply(yaml string) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	cmd := n.command(ctx, "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(yaml)
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("kubectl apply: %v: %s\n%s", err, out, yaml)
	}
}

// exec runs a command in a container of a pod and returns what it prints.
func (n *namespace) exec(pod string, command ...string) string {
	n.t.Helper()
	return n.kubectl(append([]string{"exec", pod, "--"}, command...)...)
}

// awaitPods waits until the pods that a label selector chooses are as wanted, told by what says.
func (n *namespace) awaitPods(selector, what string, wanted func([]corev1.Pod) bool) []corev1.Pod {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	pods := suite.client.CoreV1().Pods(n.name)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = selector
			return pods.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = selector
			return pods.Watch(ctx, o)
		},
	}
	seen := map[string]corev1.Pod{}
	list := func() (all []corev1.Pod) {
		for _, p := range seen {
			all = append(all, p)
		}
		return all
	}
	_, err := watchtools.UntilWithSync(ctx, lw, &corev1.Pod{}, func(store cache.Store) (bool, error) {
		for _, o := range store.List() {
			p := o.(*corev1.Pod)
			seen[p.Name] = *p
		}
		return wanted(list()), nil
	}, func(e watch.Event) (bool, error) {
		p, ok := e.Object.(*corev1.Pod)
		if !ok {
			return false, nil
		}
		if seen[p.Name] = *p; e.Type == watch.Deleted {
			delete(seen, p.Name)
		}
		return wanted(list()), nil
	})
	if err != nil {
		n.t.Fatalf("waiting for pods %q to be %s: %v; last seen:%s", selector, what, err, summary(list()))
	}
	return list()
}

// awaitPod waits for one pod by its name.
func (n *namespace) awaitPod(name, what string, wanted func(*corev1.Pod) bool) *corev1.Pod {
	n.t.Helper()
	var found *corev1.Pod
	n.awaitPods("", name+" "+what, func(all []corev1.Pod) bool {
		for i := range all {
			if all[i].Name == name && wanted(&all[i]) {
				found = &all[i]
				return true
			}
		}
		return false
	})
	return found
}

// awaitReady waits until exactly count pods match and all are Ready and not about to go.
func (n *namespace) awaitReady(selector string, count int) []corev1.Pod {
	n.t.Helper()
	return n.awaitPods(selector, fmt.Sprintf("%d ready", count), func(all []corev1.Pod) bool {
		if len(all) != count {
			return false
		}
		for i := range all {
			if !ready(&all[i]) || all[i].DeletionTimestamp != nil {
				return false
			}
		}
		return true
	})
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func summary(pods []corev1.Pod) string {
	var b strings.Builder
	for _, p := range pods {
		fmt.Fprintf(&b, "\n  %s %s ready=%v", p.Name, p.Status.Phase, ready(&p))
		for _, c := range p.Status.ContainerStatuses {
			fmt.Fprintf(&b, " %s:restarts=%d,%+v", c.Name, c.RestartCount, c.State)
		}
	}
	return b.String()
}

// eventually asks until the answer is wanted, for what no watch tells: a connection, a name.
func (n *namespace) eventually(what string, ask func() (bool, string)) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, seen := ask()
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			n.t.Fatalf("waiting for %s: last seen %s", what, seen)
		case <-tick.C:
		}
	}
}

// awaitEvent waits for an event about an object, by reason.
func (n *namespace) awaitEvent(object, reason string) *corev1.Event {
	n.t.Helper()
	var found *corev1.Event
	n.eventually("event "+reason+" about "+object, func() (bool, string) {
		list, err := suite.client.CoreV1().Events(n.name).List(n.t.Context(), metav1.ListOptions{
			FieldSelector: fields.Set{"involvedObject.name": object, "reason": reason}.String()})
		if err != nil {
			return false, err.Error()
		}
		if len(list.Items) > 0 {
			found = &list.Items[0]
		}
		return found != nil, fmt.Sprintf("%d events", len(list.Items))
	})
	return found
}
