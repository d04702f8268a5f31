package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// containerdPID is the process of the node's containerd.
func (n *node) containerdPID() int {
	n.t.Helper()
	p, err := find(n.config)
	if err != nil || p == nil {
		n.t.Fatalf("finding containerd: %v, %v", p, err)
	}
	return p.PID
}

// crash kills containerd and waits until the runtime has started another.
func (n *node) crash() {
	n.t.Helper()
	old := n.containerdPID()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		n.t.Fatal(err)
	}
	n.awaitReplaced(old)
}

func (n *node) awaitReplaced(old int) {
	n.t.Helper()
	eventually(n.t, "another containerd", func() error {
		p, err := find(n.config)
		if err != nil || p == nil || p.PID == old {
			return fmt.Errorf("found %v, %v", p, err)
		}
		_, err = n.CRI().ListPodSandbox(n.t.Context(), &runtimev1.ListPodSandboxRequest{})
		return err
	})
}

func (p *pod) pids(container string) string {
	p.t.Helper()
	return p.exec(container, "sh", "-c", "cat /proc/1/stat | { read pid rest; set -- $rest; echo ${20}; }")
}

func ticker(name string) *runtimev1.ContainerConfig {
	return containerConfig(name, "sh", "-c", "i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.02; done")
}

func TestContainerdCrash(t *testing.T) {
	n := newNode(t)
	p := n.runPod(n.sandboxConfig("survivor"))
	c := p.start(ticker("main"))
	short := p.start(containerConfig("short", "sh", "-c", "sleep 1000; exit 9"))
	eventually(t, "logs", func() error { return atLeast(p.log("main"), 5) })
	started := p.pids(c)

	n.crash()

	if got := p.state(); got != runtimev1.PodSandboxState_SANDBOX_READY {
		t.Errorf("after the crash the sandbox is %s", got)
	}
	if got := n.container(c); got.State != runtimev1.ContainerState_CONTAINER_RUNNING {
		t.Fatalf("after the crash the container is %s: %s", got.State, got.Message)
	}
	if got := p.pids(c); got != started {
		t.Errorf("the container's process started at tick %s before the crash, %s after", started, got)
	}
	seen := len(strings.Split(p.log("main"), "\n"))
	eventually(t, "more logs", func() error { return atLeast(p.log("main"), seen+20) })
	checkSequence(t, p.log("main"))
	if got := n.exec(c, "hostname"); got != "survivor" {
		t.Errorf("hostname is %q", got)
	}
	// A container that starts now still finds the pod's files.
	later := p.start(containerConfig("later", "sh", "-c", "cat /etc/resolv.conf /etc/hostname; touch /dev/shm/x; sleep 1000"))
	eventually(t, "the later container's output", func() error {
		if got := p.log("later"); !strings.Contains(got, "192.0.2.53") || !strings.Contains(got, "survivor") {
			return fmt.Errorf("its log is %q", got)
		}
		return nil
	})
	if _, err := n.CRI().StopContainer(t.Context(), &runtimev1.StopContainerRequest{ContainerId: later}); err != nil {
		t.Errorf("stopping a container: %v", err)
	}
	// An exit is noticed, of one whose start an earlier containerd saw.
	n.exec(short, "sh", "-c", "kill -9 $(cat /proc/[0-9]*/stat | grep '(sleep)' | { read pid rest; echo $pid; })")
	if got := n.awaitExit(short); got.ExitCode != 9 {
		t.Errorf("exit code is %d", got.ExitCode)
	}
	p.remove()
	n.checkClean()
}

func atLeast(log string, lines int) error {
	if got := strings.Count(log, "\n"); got < lines {
		return fmt.Errorf("the log has %d lines, not %d", got, lines)
	}
	return nil
}

// checkSequence checks that no line was lost.
func checkSequence(t *testing.T, log string) {
	t.Helper()
	last := 0
	for line := range strings.Lines(log) {
		var i int
		if _, err := fmt.Sscanf(line, "tick %d\n", &i); err != nil {
			continue
		}
		if last != 0 && i != last+1 {
			t.Errorf("tick %d follows tick %d", i, last)
		}
		last = i
	}
}

// checkClean checks that nothing is left of any pod.
func (n *node) checkClean() {
	n.t.Helper()
	if left, err := n.config.processes(); err != nil || len(left) > 0 {
		for _, p := range left {
			command, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID), "cmdline"))
			n.t.Errorf("process %d is left: %q", p.PID, command)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, filepath.Dir(n.config.RootDir)) {
			n.t.Errorf("mount is left: %s", line)
		}
	}
	c := n.config
	for _, pattern := range []string{
		c.sandboxRootDir() + "/*", c.sandboxStateDir() + "/*", c.socketDir() + "/*",
		c.persistentDir() + "/io.containerd.grpc.v1.cri/*/*", c.stateDir() + "/io.containerd.grpc.v1.cri/*/*",
		c.stateDir() + "/io.containerd.runtime.v2.task/*/*", c.persistentDir() + "/io.containerd.runtime.v2.task/*/*",
		"/sys/fs/cgroup/*" + n.cgroup + "/*/*",
	} {
		left, err := filepath.Glob(pattern)
		if err != nil {
			n.t.Fatal(err)
		}
		for _, path := range left {
			if info, err := os.Stat(path); err == nil && !info.IsDir() && strings.HasPrefix(path, "/sys") {
				continue
			}
			n.t.Errorf("file is left: %s", path)
		}
	}
}

// An exit that happens while there is no containerd is learned of later.
func TestExitWhileContainerdIsAway(t *testing.T) {
	n := newNode(t)
	p := n.runPod(n.sandboxConfig("absent"))
	c := p.start(containerConfig("main", "sh", "-c", "while [ ! -e /go/now ]; do sleep 0.01; done; echo leaving; exit 7"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n.exec(c, "sh", "-c", "mkdir -p /go 2>/dev/null || busybox mkdir /go; (sleep 0.3; touch /go/now) >/dev/null 2>&1 &")
	n.Runtime.mu.Lock()
	n.Runtime.stopping = true
	n.Runtime.mu.Unlock()
	if err := endContainerd(ctx, n.config); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the container's end", func() error {
		if len(n.config.orphans()) > 0 {
			return errors.New("it runs")
		}
		return nil
	})
	// The shim has had its time to close the pipes.
	time.Sleep(1500 * time.Millisecond)
	n.start()
	if got := n.awaitExit(c); got.ExitCode != 7 {
		t.Errorf("exit code is %d", got.ExitCode)
	}
	eventually(t, "the last line", func() error {
		if !strings.Contains(p.log("main"), "leaving") {
			return errors.New("it is not there")
		}
		return nil
	})
	p.remove()
	n.checkClean()
}

func TestStartFindsRunning(t *testing.T) {
	n := newNode(t)
	p := n.runPod(n.sandboxConfig("kept"))
	c := p.start(containerConfig("main", "sleep", "1000"))
	started, old := p.pids(c), n.containerdPID()

	n.start()
	if got := n.containerdPID(); got != old {
		t.Errorf("a second start replaced containerd %d by %d", old, got)
	}
	// Another configuration needs another containerd, and the same containers.
	n.config.MaxLogLineSize = 4096
	n.start()
	if got := n.containerdPID(); got == old {
		t.Error("containerd was not replaced when its configuration changed")
	}
	if got := p.pids(c); got != started {
		t.Errorf("the container's process started at tick %s before, %s after", started, got)
	}
	p.remove()
	n.checkClean()
}

func TestSandboxProcessDies(t *testing.T) {
	n := newNode(t)
	for _, which := range []string{"holder", "shim"} {
		t.Run(which, func(t *testing.T) {
			n.t = t
			p := n.runPod(n.sandboxConfig(which))
			c := p.start(containerConfig("main", "sleep", "1000"))
			left, err := n.config.processes()
			if err != nil {
				t.Fatal(err)
			}
			name := map[string]string{"holder": holderName, "shim": shimName}[which]
			for _, process := range left {
				exe, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(process.PID), "exe"))
				if filepath.Base(exe) == name {
					if err := process.Signal(syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
				}
			}
			eventually(t, "the sandbox to be not ready", func() error {
				if got := p.state(); got != runtimev1.PodSandboxState_SANDBOX_NOTREADY {
					return fmt.Errorf("it is %s", got)
				}
				return nil
			})
			if which == "shim" {
				n.awaitExit(c)
			}
			p.remove()
			n.checkClean()
		})
	}
}

// What a crash leaves between two steps is removed at the next start.
func TestCrashInTheMiddle(t *testing.T) {
	n := newNode(t)
	old := n.containerdPID()
	// A directory without a record, as of a sandbox whose start was cut short.
	id := strings.Repeat("0", 64)
	for _, dir := range []string{n.config.sandboxRootDir(), n.config.sandboxStateDir()} {
		if err := os.Mkdir(filepath.Join(dir, id), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	n.awaitReplaced(old)
	n.checkClean()
}

// Whatever containerd was doing when it was killed can be removed afterwards.
func TestCrashWhileStarting(t *testing.T) {
	n := newNode(t)
	for round := range 6 {
		var busy sync.WaitGroup
		for i := range 4 {
			config := n.sandboxConfig(fmt.Sprintf("pod-%d-%d", round, i))
			if err := os.MkdirAll(config.LogDirectory, 0o755); err != nil {
				t.Fatal(err)
			}
			busy.Go(func() {
				created, err := n.CRI().RunPodSandbox(t.Context(), &runtimev1.RunPodSandboxRequest{Config: config})
				if err == nil {
					_, _ = (&pod{node: n, id: created.PodSandboxId, config: config}).tryStart(containerConfig("main", "sleep", "1000"))
				}
			})
		}
		time.Sleep(time.Duration(10+20*round) * time.Millisecond)
		n.crash()
		busy.Wait()
		n.removeAll()
		// runc knows of a cgroup only once the container is made. Whoever owns the
		// pod's cgroup removes it with all below, if no process is in it.
		empty, _ := filepath.Glob("/sys/fs/cgroup/*" + n.cgroup + "/*/*")
		for _, dir := range empty {
			_ = os.Remove(dir)
		}
		n.checkClean()
	}
}

// removeAll removes all pods that containerd knows of.
func (n *node) removeAll() {
	n.t.Helper()
	list, err := n.CRI().ListPodSandbox(n.t.Context(), &runtimev1.ListPodSandboxRequest{})
	if err != nil {
		n.t.Fatal(err)
	}
	for _, s := range list.Items {
		(&pod{node: n, id: s.Id}).remove()
	}
}

// After a reboot there are records of pods, and nothing else of them.
func TestReboot(t *testing.T) {
	n := newNode(t)
	pods := []*pod{n.runPod(n.sandboxConfig("before"))}
	c := pods[0].start(containerConfig("main", "sleep", "1000"))
	stock := n.sandboxConfig("stock")
	stock.Linux.SecurityContext.NamespaceOptions.Pid = runtimev1.NamespaceMode_POD
	pods = append(pods, n.runPod(stock))
	n.Runtime.mu.Lock()
	n.Runtime.stopping = true
	n.Runtime.mu.Unlock()
	if err := syscall.Kill(n.containerdPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(killProcesses(t.Context(), n.config), n.config.removeCgroups(), unmountBelow(filepath.Dir(n.config.RootDir))); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(n.config.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "cni.sock" {
			if err := os.RemoveAll(filepath.Join(n.config.RunDir, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	n.start()
	n.awaitNetwork()
	for _, p := range pods {
		if got := p.state(); got != runtimev1.PodSandboxState_SANDBOX_NOTREADY {
			t.Errorf("pod %s is %s", p.config.Metadata.Name, got)
		}
	}
	if got := n.container(c); got.State != runtimev1.ContainerState_CONTAINER_EXITED {
		t.Errorf("the container is %s", got.State)
	}
	for _, p := range pods {
		p.remove()
	}
	again := n.runPod(n.sandboxConfig("before"))
	again.start(containerConfig("main", "sleep", "1000"))
	again.remove()
	n.checkClean()
}

func TestNativeSnapshotter(t *testing.T) {
	n := newNode(t, func(c *Config) { c.Snapshotter = "native" })
	p := n.runPod(n.sandboxConfig("native"))
	if got := n.exec(p.start(containerConfig("main", "sleep", "1000")), "sh", "-c", "grep ' / ' /proc/mounts | { read a b c rest; echo $c; }"); got == "overlay" {
		t.Errorf("the root directory is an %s", got)
	}
	p.remove()
	n.checkClean()
}
