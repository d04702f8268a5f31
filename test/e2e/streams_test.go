package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// readUntil reads lines until one contains text.
func readUntil(r io.Reader, text string) bool {
	for s := bufio.NewScanner(r); s.Scan(); {
		if strings.Contains(s.Text(), text) {
			return true
		}
	}
	return false
}

func TestS36ExecWithTerminal(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(fmt.Sprintf(sleeper, "p", "p"))
	n.awaitPod("p", "ready", ready)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// The size follows the start, so it is asked for until it is there.
	const terminal = `tty; until stty size | grep -q 111; do sleep 0.1; done; stty size; exit 3`
	// script gives kubectl a terminal of its own, whose size stty sets before the run.
	kubectl := strings.Join(n.command(ctx, "exec", "-it", "p", "--", "sh", "-c", terminal).Args, " ")
	kubectl = strings.Replace(kubectl, terminal, "'"+terminal+"'", 1)
	cmd := exec.CommandContext(ctx, "script", "--quiet", "--return", "--command", "stty cols 111 rows 33; "+kubectl, "/dev/null")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+suite.kubeconfig)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("exit code: %v", err)
	}
	if !bytes.Contains(out, []byte("/dev/pts/")) || !bytes.Contains(out, []byte("33 111")) {
		t.Errorf("the terminal's name and size are not there: %s", out)
	}
}

func TestS36Copy(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(fmt.Sprintf(sleeper, "p", "p"))
	n.awaitPod("p", "ready", ready)
	dir := t.TempDir()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	if err := os.WriteFile(filepath.Join(dir, "there"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	n.kubectl("cp", filepath.Join(dir, "there"), "p:/tmp/file")
	n.kubectl("cp", "p:/tmp/file", filepath.Join(dir, "back"))
	back, err := os.ReadFile(filepath.Join(dir, "back"))
	if err != nil || !bytes.Equal(back, data) {
		t.Errorf("%d bytes came back of %d: %v", len(back), len(data), err)
	}
}

func TestS36PortForward(t *testing.T) {
	t.Parallel()
	n := newServers(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := n.command(ctx, "port-forward", "pod/client", ":8080")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var port int
	if _, err := fmt.Sscanf(line, "Forwarding from 127.0.0.1:%d -> 8080", &port); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	for range 3 {
		if got := fetch(t, fmt.Sprintf("http://127.0.0.1:%d/hostname", port)); got != "client\n" {
			t.Errorf("through the forwarded port: %q", got)
		}
	}
}
