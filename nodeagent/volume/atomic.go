package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The folder that readers see holds links "name -> ..data/name"; ..data is
// itself a link to a folder with the files. Renaming a new ..data over the
// old one changes all files in one step.
const (
	dataLink = "..data"
	newLink  = "..data_tmp"
)

// file is one file to be projected.
type file struct {
	data []byte
	mode os.FileMode
	// uid owns the file if it is not root.
	uid *int64
}

// payload maps relative paths to files.
type payload map[string]file

// writePayload makes dir show exactly these files. own is applied to the new
// folder before readers see it.
func writePayload(dir string, files payload, own func(dir string) error) error {
	for path := range files {
		if err := checkPath(path); err != nil {
			return err
		}
	}
	old, _ := os.Readlink(filepath.Join(dir, dataLink))
	if old != "" && unchanged(filepath.Join(dir, old), files) {
		return linkNames(dir, files)
	}
	fresh, err := os.MkdirTemp(dir, time.Now().UTC().Format("..2006_01_02_15_04_05."))
	if err != nil {
		return fmt.Errorf("creating timestamped directory: %w", err)
	}
	if err := fill(fresh, files, own); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	link := filepath.Join(dir, newLink)
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing stale link: %w", err)
	}
	if err := os.Symlink(filepath.Base(fresh), link); err != nil {
		return fmt.Errorf("linking new data: %w", err)
	}
	if err := os.Rename(link, filepath.Join(dir, dataLink)); err != nil {
		return fmt.Errorf("switching to new data: %w", err)
	}
	if err := linkNames(dir, files); err != nil {
		return err
	}
	if old != "" && old != filepath.Base(fresh) {
		if err := os.RemoveAll(filepath.Join(dir, filepath.Base(old))); err != nil {
			return fmt.Errorf("removing old data: %w", err)
		}
	}
	return nil
}

func checkPath(path string) error {
	if path == "" || filepath.IsAbs(path) {
		return fmt.Errorf("invalid path: must be relative and not empty: %q", path)
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == ".." {
			return fmt.Errorf("invalid path: must not contain '..': %s", path)
		}
	}
	if strings.HasPrefix(path, "..") {
		return fmt.Errorf("invalid path: must not start with '..': %s", path)
	}
	return nil
}

func fill(dir string, files payload, own func(string) error) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("opening data folder to readers: %w", err)
	}
	for path, f := range files {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return fmt.Errorf("creating folder of %s: %w", path, err)
		}
		if err := os.WriteFile(full, f.data, f.mode); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		// The mask of the process does not count.
		if err := os.Chmod(full, f.mode); err != nil {
			return fmt.Errorf("setting mode of %s: %w", path, err)
		}
		if f.uid != nil {
			if err := os.Chown(full, int(*f.uid), -1); err != nil {
				return fmt.Errorf("setting owner of %s: %w", path, err)
			}
		}
	}
	if own != nil {
		return own(dir)
	}
	return nil
}

// unchanged compares contents; modes only ever change with the pod's spec,
// which cannot change.
func unchanged(dir string, files payload) bool {
	found := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		want, ok := files[rel]
		if !ok {
			return fs.ErrNotExist
		}
		have, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(have, want.data) {
			return fs.ErrInvalid
		}
		found++
		return nil
	})
	return err == nil && found == len(files)
}

// linkNames makes the links that readers follow, and removes those of files
// that are gone.
func linkNames(dir string, files payload) error {
	want := map[string]bool{}
	for path := range files {
		top, _, _ := strings.Cut(path, "/")
		want[top] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("listing volume: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, "..") {
			continue
		}
		if want[name] {
			delete(want, name)
			continue
		}
		if e.Type()&fs.ModeSymlink != 0 {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("removing link: %w", err)
			}
		}
	}
	for name := range want {
		if err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("linking %s: %w", name, err)
		}
	}
	return nil
}
