package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Layer is one layer of an image; see Files, Directory and Tar.
type Layer struct {
	write func(io.Writer) error
}

// File is one file of a layer.
type File struct {
	// Path in the image. Directories above need not be listed.
	Path string
	// Mode holds the permissions, and fs.ModeDir for a directory.
	Mode fs.FileMode
	// Data is the content.
	Data []byte
	// Link, if not empty, makes a symbolic link to it.
	Link     string
	UID, GID int
}

func newReader(data []byte) io.Reader { return bytes.NewReader(data) }

// Files is a layer of the files given, and the directories above them.
func Files(files ...File) Layer {
	return Layer{func(w io.Writer) error {
		t := tar.NewWriter(w)
		made := map[string]bool{}
		for _, f := range files {
			name := strings.Trim(filepath.Clean("/"+f.Path), "/")
			if err := makeParents(t, name, made); err != nil {
				return err
			}
			if f.Mode.IsDir() {
				made[name] = true
			}
			if err := writeFile(t, name, f); err != nil {
				return fmt.Errorf("writing %s: %w", f.Path, err)
			}
		}
		return t.Close()
	}}
}

func makeParents(t *tar.Writer, name string, made map[string]bool) error {
	dir := filepath.Dir(name)
	if dir == "." || made[dir] {
		return nil
	}
	if err := makeParents(t, dir, made); err != nil {
		return err
	}
	made[dir] = true
	return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: time.Unix(0, 0)})
}

func writeFile(t *tar.Writer, name string, f File) error {
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: name, Mode: unixMode(f.Mode), Size: int64(len(f.Data)),
		Uid: f.UID, Gid: f.GID, ModTime: time.Unix(0, 0),
	}
	switch {
	case f.Link != "":
		h.Typeflag, h.Linkname, h.Mode, h.Size = tar.TypeSymlink, f.Link, 0o777, 0
	case f.Mode.IsDir():
		h.Typeflag, h.Name, h.Size = tar.TypeDir, name+"/", 0
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	if h.Size == 0 {
		return nil
	}
	_, err := t.Write(f.Data)
	return err
}

func unixMode(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	for bit, value := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&bit != 0 {
			mode |= value
		}
	}
	return mode
}

// Tar is a layer that is in a tar file already, gzipped or not.
func Tar(path string) Layer {
	return Layer{func(w io.Writer) error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		var r io.Reader = file
		magic := make([]byte, 2)
		if n, _ := file.ReadAt(magic, 0); n == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
			if r, err = gzip.NewReader(file); err != nil {
				return fmt.Errorf("decompressing %s: %w", path, err)
			}
		}
		_, err = io.Copy(w, r)
		return err
	}}
}

// Directory is a layer of what is in a directory. All of it belongs to root unless
// owners are kept. Sockets are left out.
func Directory(root string, keepOwners bool) Layer {
	return Layer{func(w io.Writer) error {
		d := directory{t: tar.NewWriter(w), root: root, keepOwners: keepOwners, links: map[inode]string{}}
		if err := filepath.WalkDir(root, d.add); err != nil {
			return err
		}
		return d.t.Close()
	}}
}

type inode struct{ device, number uint64 }

type directory struct {
	t          *tar.Writer
	root       string
	keepOwners bool
	// links holds the first name of each file that has several.
	links map[inode]string
}

func (d *directory) add(path string, entry fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	name, err := filepath.Rel(d.root, path)
	if err != nil || name == "." {
		return err
	}
	info, err := entry.Info()
	if err != nil || info.Mode()&fs.ModeSocket != 0 {
		return err
	}
	h, err := d.header(path, name, info)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if err := d.t.WriteHeader(h); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if h.Typeflag != tar.TypeReg || h.Size == 0 {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(d.t, file)
	return err
}

func (d *directory) header(path, name string, info fs.FileInfo) (*tar.Header, error) {
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if target, err = os.Readlink(path); err != nil {
			return nil, err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return nil, err
	}
	h.Name, h.Uname, h.Gname = name, "", ""
	if info.IsDir() {
		h.Name += "/"
	}
	if !d.keepOwners {
		h.Uid, h.Gid = 0, 0
	}
	// Whole seconds and no other times, so that the header stays a short one.
	h.ModTime, h.AccessTime, h.ChangeTime = info.ModTime().Truncate(time.Second), time.Time{}, time.Time{}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && info.Mode().IsRegular() && stat.Nlink > 1 {
		key := inode{uint64(stat.Dev), stat.Ino}
		if first := d.links[key]; first != "" {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return h, nil
		}
		d.links[key] = name
	}
	return h, addCapabilities(h, path)
}

// addCapabilities keeps the capabilities of a program, which are what makes ping
// and the like work.
func addCapabilities(h *tar.Header, path string) error {
	const attribute = "security.capability"
	value := make([]byte, 64)
	n, err := unix.Lgetxattr(path, attribute, value)
	switch {
	case errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP):
		return nil
	case err != nil:
		return err
	}
	h.PAXRecords = map[string]string{"SCHILY.xattr." + attribute: string(value[:n])}
	return nil
}
