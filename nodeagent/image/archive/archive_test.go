package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// list describes a layer's entries, a line each.
func list(t *testing.T, l Layer) string {
	t.Helper()
	var b bytes.Buffer
	if err := l.write(&b); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "%c %04o %d:%d %s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Name)
		if h.Linkname != "" {
			fmt.Fprintf(&lines, " -> %s", h.Linkname)
		}
		if len(content) > 0 {
			fmt.Fprintf(&lines, " %q", content)
		}
		lines.WriteByte('\n')
	}
}

func TestFiles(t *testing.T) {
	got := list(t, Files(
		File{Path: "/usr/bin/tool", Mode: 0o755 | os.ModeSetuid, Data: []byte("program"), UID: 1, GID: 2},
		File{Path: "usr/bin/alias", Link: "tool"},
		File{Path: "tmp", Mode: os.ModeDir | os.ModeSticky | 0o777},
		File{Path: "tmp/../../outside", Mode: 0o600},
	))
	want := `5 0755 0:0 usr/
5 0755 0:0 usr/bin/
0 4755 1:2 usr/bin/tool "program"
2 0777 0:0 usr/bin/alias -> tool
5 1777 0:0 tmp/
0 0600 0:0 outside
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layer (-want +got):\n%s", diff)
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "etc"), 0o750),
		os.WriteFile(filepath.Join(dir, "etc/a"), []byte("content"), 0o640),
		os.Link(filepath.Join(dir, "etc/a"), filepath.Join(dir, "etc/b")),
		os.Symlink("../a", filepath.Join(dir, "etc/c")),
		os.Chown(filepath.Join(dir, "etc/a"), 33, 44),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := `5 0750 0:0 etc/
0 0640 %s etc/a "content"
1 0640 %s etc/b -> etc/a
2 0777 0:0 etc/c -> ../a
`
	for keep, owner := range map[bool]string{false: "0:0", true: "33:44"} {
		if diff := cmp.Diff(fmt.Sprintf(want, owner, owner), list(t, Directory(dir, keep))); diff != "" {
			t.Errorf("layer, owners kept: %v (-want +got):\n%s", keep, diff)
		}
	}
}

// The same input gives the same bytes.
func TestWriteIsReproducible(t *testing.T) {
	var first, second bytes.Buffer
	for _, b := range []*bytes.Buffer{&first, &second} {
		err := Write(b, Image{Name: "example.test/x:1", Layers: []Layer{
			Files(File{Path: "a", Data: []byte("a")}), Files(File{Path: "b", Data: []byte("b")}), Files(File{Path: "a", Data: []byte("a")}),
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two archives of the same image differ")
	}
}
