package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildImages makes the images of the tests from this machine's static busybox and from the folder
// workload, and returns their archives.
func buildImages(ctx context.Context, dir string) ([]string, error) {
	run := func(name string, args ...string) error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
		}
		return nil
	}
	root := filepath.Join(dir, "busybox")
	if err := busyboxRoot(ctx, root); err != nil {
		return nil, err
	}
	tools := filepath.Join(dir, "workload")
	if err := run("go", "build", "-ldflags=-s -w", "-o", filepath.Join(tools, "bin", "workload"), "./workload"); err != nil {
		return nil, err
	}
	mkimage := filepath.Join(suite.project, "bin", "mkimage")
	busybox, workload := filepath.Join(dir, "busybox.tar"), filepath.Join(dir, "workload.tar")
	if err := run(mkimage, "--output", busybox, "--cmd", "sh", "busybox", "--", root); err != nil {
		return nil, err
	}
	if err := run(mkimage, "--output", workload, "--entrypoint", "/bin/workload", "workload:latest", "workload:v2", "workload:v3", "--", root, tools); err != nil {
		return nil, err
	}
	return []string{busybox, workload}, nil
}

// busyboxRoot fills root with busybox under all its names and what programs expect of a system.
func busyboxRoot(ctx context.Context, root string) error {
	for _, d := range []string{"bin", "etc", "tmp", "root", "proc", "sys", "dev", "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(root, "tmp"), 0o777|os.ModeSticky); err != nil {
		return err
	}
	binary, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("%w; make deps installs it", err)
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "bin", "busybox"), data, 0o755); err != nil {
		return err
	}
	list, err := exec.CommandContext(ctx, binary, "--list").Output()
	if err != nil {
		return err
	}
	for _, applet := range strings.Fields(string(list)) {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	files := map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"etc/group":  "root:x:0:\nnogroup:x:65534:\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
