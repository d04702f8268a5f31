package nodeagent

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/client-go/kubernetes"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"coracle.dev/coracle/apiserver/apiservertest"
	"coracle.dev/coracle/nodeagent/image"
	"coracle.dev/coracle/nodeagent/image/archive"
)

// busyboxArchive is an image with busybox, for containers named as programs.
func busyboxArchive(t testing.TB, name string) io.Reader {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	files := []archive.File{
		{Path: "bin/busybox", Mode: 0o755, Data: program},
		{Path: "etc/passwd", Mode: 0o644, Data: []byte("root:x:0:0::/:/bin/sh\n")},
		{Path: "name", Mode: 0o644, Data: []byte(name)}, // makes the image differ
		{Path: "tmp", Mode: os.ModeDir | os.ModeSticky | 0o777},
	}
	for _, link := range []string{"sh", "sleep", "cat", "echo", "id", "ls", "hostname", "touch", "kill", "grep", "env", "stat", "nc", "head", "tail", "wget", "httpd", "true", "false", "dd"} {
		files = append(files, archive.File{Path: "bin/" + link, Link: "busybox"})
	}
	var b bytes.Buffer
	err = archive.Write(&b, archive.Image{
		Name: name, Config: imagespec.ImageConfig{Cmd: []string{"sleep", "1000000"}, Env: []string{"PATH=/bin"}},
		Layers: []archive.Layer{archive.Files(files...)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &b
}

// newRealWorld is newWorld on containerd, with the agent's whole network.
func newRealWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	cfg, _ := apiservertest.Start(t)
	cfg.Wrap(allowAll)
	dir, err := os.MkdirTemp("/tmp", "cor-na-")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ctx: t.Context(), client: kubernetes.NewForConfigOrDie(cfg), real: true}
	o := Options{
		ClusterName: filepath.Base(dir), NodeName: "n1", RootDir: filepath.Join(dir, "root"), RunDir: filepath.Join(dir, "run"), Bridge: "cor-na0",
		NodeIP: netip.MustParseAddr("127.0.0.1"), PodCIDR: netip.MustParsePrefix("10.250.0.0/24"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
		ClusterDNS: []netip.Addr{netip.MustParseAddr("10.96.0.10")},
	}
	for _, f := range change {
		f(&o)
	}
	w.options = o
	w.begin(func(ctx context.Context) error { return Run(ctx, cfg, o) })
	t.Cleanup(func() {
		if t.Failed() {
			if log, err := os.ReadFile(filepath.Join(o.RootDir, "runtime", "containerd.log")); err == nil {
				lines := strings.Split(string(log), "\n")
				t.Logf("containerd:\n%s", strings.Join(lines[max(len(lines)-60, 0):], "\n"))
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := Teardown(ctx, o); err != nil {
			t.Errorf("tearing down: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("something is left: %v", err)
		}
		if left, _ := filepath.Glob("/sys/fs/cgroup/*" + o.cgroupBase()); len(left) > 0 {
			t.Errorf("cgroups are left: %v", left)
		}
	})
	t.Cleanup(func() { w.stop() })
	w.start()
	w.namespaces()
	socket := RuntimeConfig(o).Socket()
	eventually(t, "the image can be imported", func() bool {
		_, err := os.Stat(socket)
		if err != nil {
			return false
		}
		if _, err = image.Import(t.Context(), socket, busyboxArchive(t, imageName)); err == nil {
			_, err = image.Import(t.Context(), socket, busyboxArchive(t, "docker.io/library/app:v2"))
		}
		return err == nil
	})
	return w
}

// runtime is the runtime that the agent uses.
func (w *world) runtime(t *testing.T) runtimev1.RuntimeServiceClient {
	t.Helper()
	if w.cri != nil {
		return w.cri.CRI()
	}
	conn, err := grpc.NewClient("unix://"+RuntimeConfig(w.options).Socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return runtimev1.NewRuntimeServiceClient(conn)
}

// allowAll answers access reviews in place of an API server.
func allowAll(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if !strings.HasSuffix(r.URL.Path, "/subjectaccessreviews") {
			return next.RoundTrip(r)
		}
		body := `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":true}}`
		return &http.Response{
			StatusCode: http.StatusCreated, Header: http.Header{"Content-Type": {"application/json"}}, Request: r, Body: io.NopCloser(strings.NewReader(body)),
		}, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
