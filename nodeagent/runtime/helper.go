package runtime

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

//go:embed bin
var embedded embed.FS

const (
	shimName   = "coracle-shim"
	holderName = "coracle-hold"
	cniName    = CNIPlugin
	runcName   = "runc"
	// shimAlias is the name under which containerd looks for the shim of runtimes
	// of the type io.containerd.runc.v2.
	shimAlias = "containerd-shim-runc-v2"
	// stampName is a file with a hash of the helpers that are unpacked beside it.
	stampName = ".hash"
)

var helperNames = []string{shimName, holderName, cniName, runcName}

// unpackHelpers puts the helper programs where they can be executed. Paths stay
// the same from version to version, since shims that run keep using theirs; each
// file is replaced as a whole, and programs that run keep the old one.
func unpackHelpers(dir string) error {
	contents := map[string][]byte{}
	sum := sha256.New()
	for _, name := range helperNames {
		data, err := readHelper(name)
		if err != nil {
			return err
		}
		contents[name] = data
		fmt.Fprintf(sum, "%s %d ", name, len(data))
		sum.Write(data)
	}
	stamp := hex.EncodeToString(sum.Sum(nil))
	if unpacked(dir, stamp, contents) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the directory of helpers: %w", err)
	}
	for name, data := range contents {
		if err := replaceFile(filepath.Join(dir, name), data, 0o755); err != nil {
			return fmt.Errorf("unpacking %s: %w", name, err)
		}
	}
	alias := filepath.Join(dir, shimAlias)
	if target, err := os.Readlink(alias); err != nil || target != shimName {
		if err := os.Remove(alias); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("linking the shim: %w", err)
		}
		if err := os.Symlink(shimName, alias); err != nil {
			return fmt.Errorf("linking the shim: %w", err)
		}
	}
	return replaceFile(filepath.Join(dir, stampName), []byte(stamp), 0o644)
}

func readHelper(name string) ([]byte, error) {
	data, err := embedded.ReadFile("bin/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not part of this binary: run make helpers, then build again", name)
	}
	return data, err
}

// unpacked tells whether the helpers of the stamp are there, unshortened.
func unpacked(dir, stamp string, contents map[string][]byte) bool {
	had, err := os.ReadFile(filepath.Join(dir, stampName))
	if err != nil || strings.TrimSpace(string(had)) != stamp {
		return false
	}
	for name, data := range contents {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Size() != int64(len(data)) || info.Mode().Perm()&0o111 == 0 {
			return false
		}
	}
	_, err = os.Stat(filepath.Join(dir, shimAlias))
	return err == nil
}

// replaceFile writes a file that is there whole or not at all, also after a crash
// of the machine.
func replaceFile(path string, data []byte, mode fs.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = io.Copy(file, bytes.NewReader(data))
	if err == nil {
		err = file.Chmod(mode)
	}
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
