package runtime

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"coracle.dev/coracle/nodeagent/runtime/internal/pidfd"
)

func TestStop(t *testing.T) {
	n := newNode(t)
	p := n.runPod(n.sandboxConfig("stopped"))
	p.start(containerConfig("main", "sleep", "1000"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if left, err := n.config.processes(); err != nil || len(left) > 0 {
		t.Errorf("%d processes are left after Stop (%v)", len(left), err)
	}
	if running, err := find(n.config); err != nil || running != nil {
		t.Errorf("containerd is left after Stop: %v, %v", running, err)
	}
	// The next start knows of the pod, as one that has ended.
	n.start()
	if got := p.state(); got != runtimev1.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("after a new start the sandbox is %s", got)
	}
	p.remove()
	n.checkClean()
}

// Cleanup needs neither containerd nor shims, and leaves other nodes alone.
func TestCleanup(t *testing.T) {
	other := newNode(t)
	untouched := other.runPod(other.sandboxConfig("untouched"))
	kept := untouched.start(containerConfig("main", "sleep", "1000"))

	n := newNode(t)
	p := n.runPod(n.sandboxConfig("removed"))
	p.start(containerConfig("main", "sleep", "1000"))
	p.start(containerConfig("second", "sh", "-c", "sleep 1000 & sleep 1000"))
	stock := n.sandboxConfig("stock")
	stock.Linux.SecurityContext.NamespaceOptions.Pid = runtimev1.NamespaceMode_POD
	n.runPod(stock)
	var inits []int
	for _, s := range n.config.runcStates() {
		inits = append(inits, s.PID)
	}
	if len(inits) != 3 {
		t.Fatalf("runc has %d containers, not 3", len(inits))
	}
	n.Runtime.mu.Lock()
	n.Runtime.stopping = true
	n.Runtime.mu.Unlock()
	victims, err := n.config.processes()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(n.containerdPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, v := range victims {
		exe, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(v.PID), "exe"))
		if filepath.Base(exe) == shimName {
			if err := v.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := Cleanup(ctx, n.config); err != nil {
		t.Fatal(err)
	}
	n.checkClean()
	for _, pid := range inits {
		if _, err := pidfd.StartTime(pid); err == nil {
			t.Errorf("container process %d is left", pid)
		}
	}
	for _, dir := range []string{n.config.RootDir, n.config.RunDir} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if e.Name() != "cni.sock" {
				t.Errorf("%s is left in %s", e.Name(), dir)
			}
		}
	}
	if got := other.exec(kept, "hostname"); got != "untouched" {
		t.Errorf("the other node's container says %q", got)
	}
}
