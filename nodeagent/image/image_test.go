package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"coracle.dev/coracle/nodeagent/image"
	"coracle.dev/coracle/nodeagent/image/archive"
	"coracle.dev/coracle/nodeagent/runtime"
)

// TestMain lets the test binary be the containerd child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "containerd" {
		os.Exit(runtime.ContainerdMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func startRuntime(t *testing.T) *runtime.Runtime {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cor-im-")
	if err != nil {
		t.Fatal(err)
	}
	c := runtime.Config{RootDir: filepath.Join(dir, "root"), RunDir: filepath.Join(dir, "run")}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := errors.Join(runtime.Cleanup(ctx, c), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	r, err := runtime.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// build makes an archive of an image with one file.
func build(t *testing.T, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	err := archive.Write(&b, archive.Image{
		Name:   name,
		Config: imagespec.ImageConfig{Cmd: []string{"/content"}},
		Layers: []archive.Layer{archive.Files(archive.File{Path: "content", Mode: 0o755, Data: []byte(content)})},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// only keeps some files of an archive.
func only(t *testing.T, archived []byte, keep func(string) bool) []byte {
	t.Helper()
	var b bytes.Buffer
	r, w := tar.NewReader(bytes.NewReader(archived)), tar.NewWriter(&b)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !keep(h.Name) {
			continue
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zip(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestImages(t *testing.T) {
	r := startRuntime(t)
	ctx, socket := t.Context(), r.Socket()
	docker := func(name string) bool { return name != "oci-layout" && name != "index.json" }
	oci := func(name string) bool { return name != "manifest.json" }
	for name, test := range map[string]struct {
		archived []byte
		want     string
	}{
		"docker":            {only(t, build(t, "plain", "1"), docker), "docker.io/library/plain:latest"},
		"docker with tag":   {only(t, build(t, "kubeguide/tomcat-app:v1", "2"), docker), "docker.io/kubeguide/tomcat-app:v1"},
		"docker, gzipped":   {zip(t, only(t, build(t, "zipped:1", "3"), docker)), "docker.io/library/zipped:1"},
		"oci":               {only(t, build(t, "example.test/a/b:c", "4"), oci), "example.test/a/b:c"},
		"oci, short name":   {only(t, build(t, "short", "5"), oci), "docker.io/library/short:latest"},
		"oci, gzipped":      {zip(t, only(t, build(t, "short:2", "6"), oci)), "docker.io/library/short:2"},
		"both in one":       {build(t, "both:1", "7"), "docker.io/library/both:1"},
		"the same, renamed": {build(t, "both:2", "7"), "docker.io/library/both:2"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := image.Import(ctx, socket, bytes.NewReader(test.archived))
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || got[0].Name != test.want {
				t.Fatalf("got %v, want %s", got, test.want)
			}
			// CRI has it under the short name as well, at once.
			status, err := r.Images().ImageStatus(ctx, &runtimev1.ImageStatusRequest{Image: &runtimev1.ImageSpec{Image: test.want}})
			if err != nil {
				t.Fatal(err)
			}
			if status.Image == nil || !slices.Contains(status.Image.RepoTags, test.want) {
				t.Errorf("CRI has %v", status.Image)
			}
		})
	}
	var names []string
	list, err := image.List(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		if i.Size == 0 || !strings.HasPrefix(i.Digest, "sha256:") || i.Created.IsZero() {
			t.Errorf("incomplete: %+v", i)
		}
		names = append(names, i.Name)
	}
	want := []string{
		"coracle.dev/pause:1", "docker.io/kubeguide/tomcat-app:v1", "docker.io/library/both:1", "docker.io/library/both:2",
		"docker.io/library/plain:latest", "docker.io/library/short:2", "docker.io/library/short:latest",
		"docker.io/library/zipped:1", "example.test/a/b:c",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// An image with a name that exists takes the name over.
func TestImportAgain(t *testing.T) {
	r := startRuntime(t)
	ctx, socket := t.Context(), r.Socket()
	var ids []string
	for _, content := range []string{"one", "two", "one"} {
		if _, err := image.Import(ctx, socket, bytes.NewReader(build(t, "again", content))); err != nil {
			t.Fatal(err)
		}
		status, err := r.Images().ImageStatus(ctx, &runtimev1.ImageStatusRequest{Image: &runtimev1.ImageSpec{Image: "again"}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, status.GetImage().GetId())
	}
	if ids[0] == ids[1] || ids[0] != ids[2] {
		t.Errorf("ids are %v", ids)
	}
}

func TestRemove(t *testing.T) {
	r := startRuntime(t)
	ctx, socket := t.Context(), r.Socket()
	for _, name := range []string{"one", "two"} {
		if _, err := image.Import(ctx, socket, bytes.NewReader(build(t, name, "the same"))); err != nil {
			t.Fatal(err)
		}
	}
	present := func(name string) bool {
		status, err := r.Images().ImageStatus(ctx, &runtimev1.ImageStatusRequest{Image: &runtimev1.ImageSpec{Image: name}})
		if err != nil {
			t.Fatal(err)
		}
		return status.Image != nil
	}
	for _, step := range []struct {
		remove   string
		one, two bool
	}{{"one", false, true}, {"two:latest", false, false}} {
		if err := image.Remove(ctx, socket, step.remove); err != nil {
			t.Fatal(err)
		}
		if one, two := present("one"), present("two"); one != step.one || two != step.two {
			t.Errorf("after the removal of %s: one %v, two %v", step.remove, one, two)
		}
	}
	if err := image.Remove(ctx, socket, "one"); !errdefs.IsNotFound(err) {
		t.Errorf("removing what is not there: %v", err)
	}
}

func TestImportFailures(t *testing.T) {
	r := startRuntime(t)
	for name, test := range map[string]struct {
		archived []byte
		want     string
	}{
		"empty":   {nil, "importing images"},
		"garbage": {[]byte(strings.Repeat("no archive ", 1000)), "importing images"},
		"short":   {build(t, "cut", "content")[:2000], "importing images"},
		"no name": {only(t, build(t, "", "x"), func(n string) bool { return n != "manifest.json" }), "no image in the archive has a name"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := image.Import(t.Context(), r.Socket(), bytes.NewReader(test.archived))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	if _, err := image.List(t.Context(), "/tmp/no/such/socket"); err == nil || !strings.Contains(err.Error(), "is the node up?") {
		t.Errorf("without containerd: %v", err)
	}
}

func TestNormalize(t *testing.T) {
	for name, want := range map[string]string{
		"mysql":                  "docker.io/library/mysql:latest",
		"kubeguide/tomcat-app:1": "docker.io/kubeguide/tomcat-app:1",
		"localhost/x":            "localhost/x:latest",
		"example.test:5000/x":    "example.test:5000/x:latest",
	} {
		if got, err := image.Normalize(name); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", name, got, err, want)
		}
	}
	if got, err := image.Normalize("Not A Name"); err == nil {
		t.Errorf("got %s", got)
	}
}
