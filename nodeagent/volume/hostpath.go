package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	corev1 "k8s.io/api/core/v1"
)

var hostPathModes = map[corev1.HostPathType]struct {
	mode fs.FileMode
	name string
}{
	corev1.HostPathDirectory:         {fs.ModeDir, "directory"},
	corev1.HostPathFile:              {0, "file"},
	corev1.HostPathSocket:            {fs.ModeSocket, "socket file"},
	corev1.HostPathCharDev:           {fs.ModeDevice | fs.ModeCharDevice, "character device"},
	corev1.HostPathBlockDev:          {fs.ModeDevice, "block device"},
	corev1.HostPathFileOrCreate:      {0, "file"},
	corev1.HostPathDirectoryOrCreate: {fs.ModeDir, "directory"},
}

// checkHostPath makes the path if its type says so, and sees that it is what
// its type says.
func checkHostPath(path string, kind *corev1.HostPathType) error {
	if kind == nil || *kind == corev1.HostPathUnset {
		return nil
	}
	want, ok := hostPathModes[*kind]
	if !ok {
		return fmt.Errorf("hostPath type check failed: unknown type %q", *kind)
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		switch *kind {
		case corev1.HostPathDirectoryOrCreate:
			if err := os.MkdirAll(path, 0o755); err != nil {
				return fmt.Errorf("creating hostPath: %w", err)
			}
			return nil
		case corev1.HostPathFileOrCreate:
			f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644)
			if err != nil {
				return fmt.Errorf("creating hostPath: %w", err)
			}
			return f.Close()
		}
	}
	if err != nil || info.Mode().Type() != want.mode {
		return fmt.Errorf("hostPath type check failed: %s is not a %s", path, want.name)
	}
	return nil
}
