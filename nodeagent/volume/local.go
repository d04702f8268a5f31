package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/api/validation"
)

// removing is the prefix of a folder that is being removed, which no volume's
// name can have.
const removing = ".removing-"

// ErrName refuses what cannot be a volume's name.
var ErrName = errors.New("not the name of a volume")

// MakeLocal makes the folder of a local volume unless it is there, open to every
// user, and tells where it is. It outlives pods.
func (m *Manager) MakeLocal(name string) (string, error) {
	if len(validation.NameIsDNSSubdomain(name, false)) > 0 {
		return "", fmt.Errorf("%w: %q", ErrName, name)
	}
	dir := filepath.Join(m.localRoot(), name)
	if err := os.MkdirAll(m.localRoot(), 0o711); err != nil {
		return "", fmt.Errorf("making the folder of local volumes: %w", err)
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return dir, nil // made before; its mode is its user's
		}
		return "", fmt.Errorf("making local volume %s: %w", name, err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return "", fmt.Errorf("opening local volume %s: %w", name, err)
	}
	return dir, nil
}

// RemoveLocal removes a local volume with all that is in it. That it is gone is
// no error. It loses its name at once, so that one that was removed in part
// never passes for a volume.
func (m *Manager) RemoveLocal(name string) error {
	if len(validation.NameIsDNSSubdomain(name, false)) > 0 {
		return fmt.Errorf("%w: %q", ErrName, name)
	}
	gone := filepath.Join(m.localRoot(), removing+name)
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("removing local volume %s: %w", name, err)
	}
	if err := os.Rename(filepath.Join(m.localRoot(), name), gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing local volume %s: %w", name, err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("removing local volume %s: %w", name, err)
	}
	return nil
}

func (m *Manager) localRoot() string { return filepath.Join(m.Root, "local-volumes") }
