package preflight

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	minKernelMajor, minKernelMinor = 5, 10
	minDisk                        = 1 << 30   // bytes; below it images don't fit
	wantDisk                       = 5 << 30   // bytes; below it an image or two still fit
	minMemory                      = 512 << 20 // bytes
	minInodes                      = 20_000
	minInotify                     = 128
)

func checkRoot() Finding {
	if uid := os.Geteuid(); uid != 0 {
		return fail("root", "sudo "+strings.Join(os.Args, " "), "running as user %d; containers, interfaces and packet rules need root", uid)
	}
	return ok("root", "running as root")
}

func checkKernel() Finding {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fail("kernel", "", "asking for the kernel's version: %v", err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return warn("kernel", "", "can't tell the version of kernel %q", release)
	}
	if major < minKernelMajor || major == minKernelMajor && minor < minKernelMinor {
		return fail("kernel", "apt-get install --yes linux-image-amd64 && reboot", "Linux %s; %d.%d or newer is needed", release, minKernelMajor, minKernelMinor)
	}
	return ok("kernel", "Linux %s", release)
}

// checkCgroups accepts version 2 with the controllers that limits need, or version 1 with each of
// them mounted.
func checkCgroups() Finding {
	const root = "/sys/fs/cgroup"
	needed := []string{"cpu", "memory", "pids"}
	if data, err := os.ReadFile(root + "/cgroup.controllers"); err == nil {
		have := strings.Fields(string(data))
		for _, c := range needed {
			if !slices.Contains(have, c) {
				return fail("cgroups", "boot with the kernel option cgroup_enable="+c, "controller %s is not available; there are %s", c, strings.Join(have, ", "))
			}
		}
		return ok("cgroups", "version 2")
	}
	for _, c := range needed {
		if _, err := os.Stat(filepath.Join(root, c, "cgroup.procs")); err != nil {
			return fail("cgroups", fmt.Sprintf("mkdir -p %[1]s/%[2]s && mount -t cgroup -o %[2]s cgroup %[1]s/%[2]s", root, c), "controller %s is not mounted below %s", c, root)
		}
	}
	return ok("cgroups", "version 1")
}

// checkCommands tries the one program that is run but not brought along: nft writes packet rules.
func checkCommands(ctx context.Context) Finding {
	const install = "apt-get update && apt-get install --yes nftables"
	if _, err := exec.LookPath("nft"); err != nil {
		return fail("nftables", install, "the command nft is not installed")
	}
	if out, err := exec.CommandContext(ctx, "nft", "list", "tables").CombinedOutput(); err != nil {
		return fail("nftables", "modprobe nf_tables", "nft list tables: %v: %s", err, bytes.TrimSpace(out))
	}
	return ok("nftables", "nft works")
}

func checkOverlay() Finding {
	data, err := os.ReadFile("/proc/filesystems")
	if err != nil || !bytes.Contains(data, []byte("\toverlay\n")) {
		return fail("overlayfs", "modprobe overlay", "the kernel does not list overlay in /proc/filesystems")
	}
	return ok("overlayfs", "available")
}

func checkInotify() Finding {
	const path = "/proc/sys/fs/inotify/max_user_instances"
	data, err := os.ReadFile(path)
	if err != nil {
		return warn("inotify", "", "reading %s: %v", path, err)
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && n < minInotify {
		return warn("inotify", "sysctl -w fs.inotify.max_user_instances=1024", "fs.inotify.max_user_instances is %d; containers that watch files may run out", n)
	}
	return ok("inotify", "limits suffice")
}

func checkMemory() Finding {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return warn("memory", "", "%v", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var kib int64
		if _, err := fmt.Sscanf(s.Text(), "MemAvailable: %d kB", &kib); err != nil {
			continue
		}
		if kib<<10 < minMemory {
			return warn("memory", "stop other programs, or add memory", "%d MiB are free; %d MiB are wanted", kib>>10, minMemory>>20)
		}
		return ok("memory", "%d MiB available", kib>>10)
	}
	return warn("memory", "", "/proc/meminfo has no MemAvailable")
}

func checkDisk(dir string) Finding {
	dir = existing(dir)
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return fail("disk", "", "asking for the free space of %s: %v", dir, err)
	}
	free := s.Bavail * uint64(s.Bsize)
	remedy := fmt.Sprintf("free some space on the file system of %s, or set --data-dir to a folder on another", dir)
	switch {
	case free < minDisk:
		return fail("disk", remedy, "%d MiB are free at %s; at least %d MiB are needed", free>>20, dir, minDisk>>20)
	case s.Files > 0 && s.Ffree < minInodes:
		return fail("disk", remedy, "%d inodes are free at %s; at least %d are needed", s.Ffree, dir, minInodes)
	case free < wantDisk:
		return warn("disk", remedy, "%d MiB are free at %s", free>>20, dir)
	}
	return ok("disk", "%d GiB free at %s", free>>30, dir)
}

// checkExec makes sure that programs unpacked to the data directory can be run there.
func checkExec(dir string) Finding {
	dir = existing(dir)
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err == nil && s.Flags&unix.ST_NOEXEC != 0 {
		return fail("data directory", "set --data-dir to a folder on a file system mounted without noexec", "%s is on a file system mounted noexec", dir)
	}
	if err := unix.Access(dir, unix.W_OK); err != nil && !errors.Is(err, unix.EACCES) {
		return fail("data directory", "set --data-dir to a folder that can be written to", "%s: %v", dir, err)
	}
	return ok("data directory", "%s is fit for programs", dir)
}

// existing is the nearest ancestor of dir, or dir itself, that exists.
func existing(dir string) string {
	for dir != "/" && dir != "." {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "/"
}
