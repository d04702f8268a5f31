package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// isMountPoint tells whether a file system of its own is mounted at dir. It
// sees mounts of other file systems, which is what this package makes there.
func isMountPoint(dir string) (bool, error) {
	var at, above unix.Stat_t
	if err := unix.Lstat(dir, &at); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, fmt.Errorf("looking at %s: %w", dir, err)
	}
	if err := unix.Lstat(filepath.Dir(dir), &above); err != nil {
		return false, fmt.Errorf("looking at parent of %s: %w", dir, err)
	}
	return at.Dev != above.Dev, nil
}

// mountTmpfs mounts memory at dir, unless something is mounted there already.
func mountTmpfs(dir string, size int64) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("creating %s: %w", dir, err)
	}
	mounted, err := isMountPoint(dir)
	if mounted || err != nil {
		return err
	}
	options := ""
	if size > 0 {
		options = fmt.Sprintf("size=%d", size)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		return fmt.Errorf("mounting tmpfs at %s: %w", dir, err)
	}
	return nil
}

// mountsBelow lists the mount points at or below dir, the deepest first.
func mountsBelow(dir string) ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading mounts: %w", err)
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var out []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		point := unescape.Replace(fields[4])
		if point == dir || strings.HasPrefix(point, dir+"/") {
			out = append(out, point)
		}
	}
	sort.Slice(out, func(i, j int) bool { return len(out[i]) > len(out[j]) })
	return out, nil
}

// unmountAll unmounts everything at or below dir.
func unmountAll(dir string) error {
	points, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	var all error
	for _, p := range points {
		if err := unix.Unmount(p, unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			// In use, by a process outside of the pod: it keeps what it
			// has open, and the name goes.
			if err = unix.Unmount(p, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil {
				all = errors.Join(all, fmt.Errorf("unmounting %s: %w", p, err))
			}
		}
	}
	return all
}

// removeTree removes dir when nothing is mounted in it any more.
func removeTree(dir string) error {
	if err := unmountAll(dir); err != nil {
		return err
	}
	left, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("removing %s: still mounted: %s", dir, strings.Join(left, ", "))
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	return nil
}

// bindSubPath binds what subPath names within volumeDir to target. The kernel
// resolves the path and refuses to leave the volume, whatever links are in it
// and whoever changes them meanwhile; the bind is made from the file that was
// opened, not from its name.
func bindSubPath(volumeDir, subPath, target string) error {
	fd, err := openBeneath(volumeDir, subPath)
	if errors.Is(err, unix.ENOENT) {
		if err = createBeneath(volumeDir, subPath); err == nil {
			fd, err = openBeneath(volumeDir, subPath)
		}
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w", subPath, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("looking at %s: %w", subPath, err)
	}
	// The bind of an earlier container of this name shows what was there
	// then, which may have been replaced.
	if err := unmountAll(target); err != nil {
		return err
	}
	if err := mountTarget(target, st.Mode&unix.S_IFMT == unix.S_IFDIR); err != nil {
		return err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", fd), target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("binding %s: %w", subPath, err)
	}
	return nil
}

func openBeneath(dir, path string) (int, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	return unix.Openat2(root, path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	})
}

func createBeneath(dir, path string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.MkdirAll(path, info.Mode().Perm())
}

func mountTarget(target string, dir bool) error {
	if err := os.RemoveAll(target); err != nil {
		return fmt.Errorf("clearing %s: %w", target, err)
	}
	if dir {
		if err := os.MkdirAll(target, 0o750); err != nil {
			return fmt.Errorf("creating %s: %w", target, err)
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return fmt.Errorf("creating folder of %s: %w", target, err)
	}
	if err := os.WriteFile(target, nil, 0o640); err != nil {
		return fmt.Errorf("creating %s: %w", target, err)
	}
	return nil
}
