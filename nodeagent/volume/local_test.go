package volume

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestLocalVolumes(t *testing.T) {
	m := New(Config{Root: t.TempDir()})
	path, err := m.MakeLocal("pvc-1")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("the folder is %v, %v; it is to be open to all", info, err)
	}
	if err := os.MkdirAll(filepath.Join(path, "a/b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if again, err := m.MakeLocal("pvc-1"); again != path || err != nil {
		t.Errorf("made again: %s, %v", again, err)
	}
	if _, err := os.Stat(filepath.Join(path, "a/b")); err != nil {
		t.Errorf("making a volume again lost its content: %v", err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := errors.Join(os.WriteFile(outside, nil, 0o600), os.Symlink(outside, filepath.Join(path, "link"))); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.RemoveLocal("pvc-1"); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(m.localRoot()); err != nil || len(left) > 0 {
		t.Errorf("left after removal: %v, %v", left, err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a link's target went too: %v", err)
	}
	for _, name := range []string{"", ".", "..", "../pods", "a/b", "/", ".removing-x"} {
		if _, err := m.MakeLocal(name); !errors.Is(err, ErrName) {
			t.Errorf("making %q: %v", name, err)
		}
		if err := m.RemoveLocal(name); !errors.Is(err, ErrName) {
			t.Errorf("removing %q: %v", name, err)
		}
	}
}
