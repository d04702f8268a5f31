package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestSurvival kills the cluster's process while it writes, and containerd with it, and takes the
// cluster up again: the same containers run on, and every acknowledged write is there. It disturbs
// the whole cluster, so it does not run beside other tests.
func TestSurvival(t *testing.T) {
	n := newNamespace(t)
	for i := range 3 {
		n.apply(fmt.Sprintf(sleeper, fmt.Sprintf("p%d", i), "p"))
	}
	before := n.awaitReady("app=p", 3)
	var processes []int
	for _, p := range before {
		processes = append(processes, mainProcess(t, &p))
	}

	for round, victims := range []string{"coracle", "containerd", "both"} {
		acknowledged := writeUntilKilled(t, n, round, victims)
		if out, err := upCommand(t.Context()).CombinedOutput(); err != nil {
			t.Fatalf("taking the cluster up again: %v\n%s", err, out)
		}
		for _, name := range acknowledged {
			if _, err := suite.client.CoreV1().ConfigMaps(n.name).Get(t.Context(), name, metav1.GetOptions{}); err != nil {
				t.Fatalf("round %d: acknowledged write %s: %v", round, name, err)
			}
		}
		after := n.awaitReady("app=p", 3)
		for i := range before {
			j := slices.IndexFunc(after, func(p corev1.Pod) bool { return p.UID == before[i].UID })
			if j < 0 {
				t.Fatalf("round %d: pod %s is gone", round, before[i].Name)
			}
			if got := mainProcess(t, &after[j]); got != processes[i] || restarts(&after[j], "main") != 0 {
				t.Errorf("round %d: pod %s had process %d, now %d with %d restarts", round, before[i].Name, processes[i], got, restarts(&after[j], "main"))
			}
		}
		if out := n.exec(before[0].Name, "echo", "alive"); out != "alive\n" {
			t.Errorf("round %d: exec gives %q", round, out)
		}
	}
	// Life goes on: an exit is noticed, a pod starts, a pod goes.
	killMain(n, before[0].Name, "main")
	n.awaitPod(before[0].Name, "restarted", func(p *corev1.Pod) bool { return restarts(p, "main") == 1 && ready(p) })
	n.apply(fmt.Sprintf(sleeper, "late", "late"))
	n.awaitPod("late", "ready", ready)
	n.kubectl("delete", "pod", before[1].Name, "--timeout=60s")
}

// writeUntilKilled makes ConfigMaps as fast as it can, kills the victims in the middle, and returns
// the names of those whose creation the server confirmed.
func writeUntilKilled(t *testing.T, n *namespace, round int, victims string) (acknowledged []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const killAfter = 200
	for i := 0; ; i++ {
		name := fmt.Sprintf("write-%d-%d", round, i)
		_, err := suite.client.CoreV1().ConfigMaps(n.name).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			return acknowledged
		}
		acknowledged = append(acknowledged, name)
		if i != killAfter {
			continue
		}
		if victims != "coracle" {
			kill(t, "containerd")
		}
		if victims != "containerd" {
			go kill(t, "coracle")
			continue
		}
		return acknowledged
	}
}

// kill ends the cluster's process or its containerd without warning.
func kill(t *testing.T, which string) {
	out, err := coracle(context.Background(), "status").CombinedOutput()
	if err != nil {
		t.Errorf("coracle status: %v: %s", err, out)
		return
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != which || fields[1] != "process" {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSuffix(fields[2], ","))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			return
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("killing %s, process %d: %v", which, pid, err)
		}
		return
	}
	t.Errorf("coracle status names no process of %s:\n%s", which, out)
}

// mainProcess is the first process of a pod's container, as the node sees it.
func mainProcess(t *testing.T, p *corev1.Pod) int {
	t.Helper()
	id := strings.TrimPrefix(p.Status.ContainerStatuses[0].ContainerID, "containerd://")
	pids := containerProcesses(t, id)
	if len(pids) == 0 {
		t.Fatalf("pod %s has no process", p.Name)
	}
	slices.Sort(pids)
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pids[0])); err != nil {
		t.Fatal(err)
	}
	return pids[0]
}
