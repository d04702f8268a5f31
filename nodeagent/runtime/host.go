package runtime

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/pkg/cap"
	"golang.org/x/sys/unix"
)

// host is what the runtime needs to know of the machine.
type host struct {
	// sysResource tells whether oom scores can be lowered.
	sysResource bool
	snapshotter string
}

func inspectHost(c Config) (host, error) {
	capabilities, err := cap.Current()
	if err != nil {
		return host{}, fmt.Errorf("reading our capabilities: %w", err)
	}
	h := host{snapshotter: c.Snapshotter}
	for _, name := range capabilities {
		h.sysResource = h.sysResource || name == "CAP_SYS_RESOURCE"
	}
	if h.snapshotter == "" {
		h.snapshotter = "overlayfs"
		if !overlayWorks(c.RootDir) {
			h.snapshotter = "native"
		}
	}
	return h, nil
}

// overlayWorks mounts an overlay below dir to see.
func overlayWorks(dir string) bool {
	base, err := os.MkdirTemp(dir, ".overlay-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(base)
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		if os.Mkdir(filepath.Join(base, d), 0o700) != nil {
			return false
		}
	}
	options := fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", base, base, base)
	merged := filepath.Join(base, "merged")
	if unix.Mount("overlay", merged, "overlay", 0, options) != nil {
		return false
	}
	return unix.Unmount(merged, unix.MNT_DETACH) == nil
}
