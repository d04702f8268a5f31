package sandbox

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

// shmSize is the size of a pod's /dev/shm in bytes, as with other runtimes.
const shmSize = 64 << 20

// makeDirectories makes our directories and the CRI plugin's links to them.
func (c *Controller) makeDirectories(id string) error {
	for _, d := range []struct{ dir, link string }{
		{filepath.Join(c.root, id), filepath.Join(c.criRoot, id)},
		{filepath.Join(c.state, id), filepath.Join(c.criState, id)},
	} {
		if err := os.Mkdir(d.dir, 0o755); err != nil {
			return fmt.Errorf("making the sandbox's directory: %w", err)
		}
		if err := os.Symlink(d.dir, d.link); err != nil {
			return fmt.Errorf("linking the sandbox's directory: %w", err)
		}
	}
	return nil
}

// writeFiles makes what the CRI plugin mounts into the pod's containers.
func (c *Controller) writeFiles(r *request) error {
	dir := filepath.Join(c.root, r.id)
	hostname := r.config.GetHostname()
	if hostname == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("finding the host's name: %w", err)
		}
		hostname = name
	}
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading the host's hosts file: %w", err)
	}
	resolv, err := resolvConf(r.config.GetDnsConfig())
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"hostname": []byte(hostname + "\n"), "hosts": hosts, "resolv.conf": resolv} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("writing the sandbox's %s: %w", name, err)
		}
	}
	if r.namespaces().GetIpc() == runtimev1.NamespaceMode_NODE {
		return nil
	}
	shm := filepath.Join(c.state, r.id, "shm")
	if err := os.Mkdir(shm, 0o700); err != nil {
		return fmt.Errorf("making the sandbox's /dev/shm: %w", err)
	}
	options := fmt.Sprintf("mode=1777,size=%d", shmSize)
	if err := unix.Mount("shm", shm, "tmpfs", unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mounting the sandbox's /dev/shm: %w", err)
	}
	return nil
}

// resolvConf is the host's if the pod says nothing.
func resolvConf(dns *runtimev1.DNSConfig) ([]byte, error) {
	if dns == nil {
		data, err := os.ReadFile("/etc/resolv.conf")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("reading the host's resolv.conf: %w", err)
		}
		return data, nil
	}
	var b strings.Builder
	if len(dns.Searches) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(dns.Searches, " "))
	}
	for _, server := range dns.Servers {
		fmt.Fprintf(&b, "nameserver %s\n", server)
	}
	if len(dns.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(dns.Options, " "))
	}
	return []byte(b.String()), nil
}

// stop ends the processes and takes away what needs them.
func (c *Controller) stop(ctx context.Context, s *instance) error {
	var errs []error
	for _, p := range []*pidfd.Process{s.holder, s.shim} {
		if p == nil {
			continue
		}
		if err := p.Signal(unix.SIGKILL); err != nil {
			errs = append(errs, err)
			continue
		}
		select {
		case <-p.Done():
		case <-ctx.Done():
			return fmt.Errorf("waiting for process %d to end: %w", p.PID, ctx.Err())
		}
		p.Close()
	}
	if s.socket != "" {
		if err := os.Remove(s.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("removing the shim's socket: %w", err))
		}
	}
	shm := filepath.Join(c.state, s.id, "shm")
	if err := unix.Unmount(shm, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		errs = append(errs, fmt.Errorf("unmounting the sandbox's /dev/shm: %w", err))
	}
	return errors.Join(errs...)
}

// destroy leaves nothing of the sandbox. The record goes last, so that a destroy
// that is cut short can be taken up.
func (c *Controller) destroy(ctx context.Context, s *instance) error {
	if err := c.stop(ctx, s); err != nil {
		return err
	}
	var errs []error
	for _, path := range []string{
		filepath.Join(c.criState, s.id), filepath.Join(c.criRoot, s.id),
		filepath.Join(c.state, s.id), filepath.Join(c.root, s.id),
	} {
		if err := os.RemoveAll(path); err != nil {
			errs = append(errs, fmt.Errorf("removing the sandbox's files: %w", err))
		}
	}
	return errors.Join(errs...)
}
