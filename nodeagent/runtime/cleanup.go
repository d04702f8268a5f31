package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"coracle.dev/coracle/nodeagent/runtime/internal/pidfd"
)

// Stop stops all pods, and then containerd, for taking the node down. Stopped pods
// stay in the records; a later Start finds them as pods that have ended.
func (r *Runtime) Stop(ctx context.Context) error {
	r.mu.Lock()
	r.stopping = true
	r.mu.Unlock()
	pods, err := r.CRI().ListPodSandbox(ctx, &runtimev1.ListPodSandboxRequest{})
	if err != nil {
		return fmt.Errorf("stopping pods: %w", err)
	}
	results := make(chan error)
	for _, p := range pods.Items {
		go func() {
			_, err := r.CRI().StopPodSandbox(ctx, &runtimev1.StopPodSandboxRequest{PodSandboxId: p.Id})
			if err != nil {
				err = fmt.Errorf("stopping pod %s/%s: %w", p.Metadata.GetNamespace(), p.Metadata.GetName(), err)
			}
			results <- err
		}()
	}
	var errs []error
	for range pods.Items {
		errs = append(errs, <-results)
	}
	return errors.Join(append(errs, endContainerd(ctx, r.config))...)
}

// endContainerd ends the containerd of the configuration, if it runs.
func endContainerd(ctx context.Context, c Config) error {
	if _, err := os.Stat(c.RunDir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	unlock, err := lock(ctx, c.lockFile())
	if err != nil {
		return err
	}
	defer unlock()
	running, err := find(c)
	if err != nil || running == nil {
		return err
	}
	if err := running.end(ctx); err != nil {
		return err
	}
	for _, path := range []string{c.recordFile(), c.socket(), c.socket() + ".ttrpc"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing what containerd left: %w", err)
		}
	}
	return nil
}

// Cleanup removes all that runtimes of this configuration have made: containers,
// processes, mounts and files. It needs no containerd that runs or works. Pods'
// cgroups are the caller's, since it has named them.
func Cleanup(ctx context.Context, c Config) error {
	c, err := c.withDefaults()
	if err != nil {
		return fmt.Errorf("cleaning up the container runtime: %w", err)
	}
	if err := endContainerd(ctx, c); err != nil {
		return fmt.Errorf("cleaning up the container runtime: %w", err)
	}
	if err := killProcesses(ctx, c); err != nil {
		return fmt.Errorf("cleaning up the container runtime: %w", err)
	}
	if err := c.removeCgroups(); err != nil {
		return fmt.Errorf("cleaning up the container runtime: %w", err)
	}
	if err := unmountBelow(c.RunDir, c.RootDir); err != nil {
		return fmt.Errorf("cleaning up the container runtime: %w", err)
	}
	var errs []error
	for _, dir := range []string{
		c.persistentDir(), c.stateDir(), c.runcDir(), c.socketDir(), c.helperDir(), c.RegistryConfigDir, c.CNIConfDir,
		c.configFile(), c.logFile(), c.logFile() + ".1", c.recordFile(), c.socket(), c.socket() + ".ttrpc", c.lockFile(),
	} {
		if err := os.RemoveAll(dir); err != nil {
			errs = append(errs, fmt.Errorf("cleaning up the container runtime: %w", err))
		}
	}
	// Others may have files there.
	_ = os.Remove(c.RunDir)
	_ = os.Remove(c.RootDir)
	return errors.Join(errs...)
}

// killProcesses ends shims and holders, which are known by their program, and
// containers, which are their shim's children and in runc's records.
func killProcesses(ctx context.Context, c Config) error {
	for range 10 {
		victims, err := c.processes()
		if err != nil {
			return err
		}
		victims = append(victims, c.orphans()...)
		if len(victims) == 0 {
			return nil
		}
		var errs []error
		for _, p := range victims {
			errs = append(errs, p.Signal(unix.SIGKILL))
		}
		for _, p := range victims {
			select {
			case <-p.Done():
				p.Close()
			case <-ctx.Done():
				return fmt.Errorf("waiting for process %d to end: %w", p.PID, ctx.Err())
			}
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return errors.New("processes of the runtime come back as often as they are killed")
}

// processes finds our helpers, and all that descends from them.
func (c Config) processes() ([]*pidfd.Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	ours, parents := map[int]bool{}, map[int]int{}
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscanf(e.Name(), "%d", &pid); err != nil {
			continue
		}
		if parent, err := pidfd.Parent(pid); err == nil {
			parents[pid] = parent
		}
		exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		if err == nil && filepath.Dir(exe) == c.helperDir() {
			ours[pid] = true
		}
	}
	var found []*pidfd.Process
	for pid := range parents {
		for up := pid; up > 1; up = parents[up] {
			if ours[up] {
				if p, err := pidfd.Watch(pid, 0, nil); err == nil {
					found = append(found, p)
				}
				break
			}
		}
	}
	return found, nil
}

// unmountBelow unmounts what is mounted in the directories, the newest first.
func unmountBelow(dirs ...string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("listing mounts: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	var errs []error
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i])
		if len(fields) < 5 {
			continue
		}
		point := unescape.Replace(fields[4])
		for _, dir := range dirs {
			if !strings.HasPrefix(point, dir+"/") {
				continue
			}
			if err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("unmounting %s: %w", point, err))
			}
			break
		}
	}
	return errors.Join(errs...)
}

// unescape undoes what the kernel does to names in mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
