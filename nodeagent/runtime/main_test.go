package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"coracle.dev/coracle/nodeagent/image"
	"coracle.dev/coracle/nodeagent/image/archive"
)

// TestMain lets the test binary be the containerd child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "containerd" {
		os.Exit(ContainerdMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

const busybox = "docker.io/library/busybox:test"

// node is a runtime with all of its directories in one of the test's own, which
// is checked to be clean in the end.
type node struct {
	*Runtime
	t      testing.TB
	config Config
	// cgroup is the parent of the pods' cgroups.
	cgroup string
}

// newNode starts a runtime that has a busybox image, and a CNI plugin that gives
// pods no interface.
func newNode(t testing.TB, change ...func(*Config)) *node {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cor-rt-")
	if err != nil {
		t.Fatal(err)
	}
	// Containers of a user namespace have to get at their files.
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	c := Config{RootDir: filepath.Join(dir, "root"), RunDir: filepath.Join(dir, "run"), LogLevel: "info"}
	for _, f := range change {
		f(&c)
	}
	n := &node{t: t, config: c, cgroup: "/coracle-test-" + filepath.Base(dir)}
	t.Cleanup(func() {
		if t.Failed() || os.Getenv("RT_LOG") != "" {
			t.Log(logTail(c))
		}
		n.cleanUp()
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("something is left: %v", err)
		}
	})
	n.start()
	serveCNI(t, filepath.Join(c.RunDir, "cni.sock"))
	writeConfList(t, n.CNIConfDir(), filepath.Join(c.RunDir, "cni.sock"))
	if _, err := image.Import(t.Context(), n.Socket(), busyboxArchive(t)); err != nil {
		t.Fatal(err)
	}
	n.awaitNetwork()
	return n
}

// start starts the runtime, or finds it, in place of the one before.
func (n *node) start() {
	n.t.Helper()
	if before := n.Runtime; before != nil {
		before.mu.Lock()
		before.stopping = true
		before.mu.Unlock()
	}
	ctx, cancel := context.WithCancel(n.t.Context())
	n.t.Cleanup(cancel)
	// What bounds the start must not bound the runtime's life.
	late := time.AfterFunc(30*time.Second, cancel)
	r, err := Start(ctx, n.config)
	late.Stop()
	if err != nil {
		n.t.Fatal(err)
	}
	n.Runtime = r
}

func (n *node) cleanUp() {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := Cleanup(ctx, n.config); err != nil {
		n.t.Errorf("cleaning up: %v", err)
	}
	for _, dir := range []string{"/sys/fs/cgroup/*" + n.cgroup + "/*/*", "/sys/fs/cgroup/*" + n.cgroup + "/*", "/sys/fs/cgroup/*" + n.cgroup} {
		paths, _ := filepath.Glob(dir)
		for _, p := range paths {
			_ = os.Remove(p)
		}
	}
}

func (n *node) awaitNetwork() {
	n.t.Helper()
	eventually(n.t, "the network to be ready", func() error {
		s, err := n.CRI().Status(n.t.Context(), &runtimev1.StatusRequest{})
		if err != nil {
			return err
		}
		for _, c := range s.Status.Conditions {
			if !c.Status {
				return fmt.Errorf("%s: %s", c.Type, c.Message)
			}
		}
		return nil
	})
}

func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("waiting for %s: %v", what, err)
}

func busyboxArchive(t testing.TB) io.Reader {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	files := []archive.File{
		{Path: "bin/busybox", Mode: 0o755, Data: program},
		{Path: "etc/passwd", Mode: 0o644, Data: []byte("root:x:0:0::/:/bin/sh\n")},
		{Path: "tmp", Mode: os.ModeDir | os.ModeSticky | 0o777},
	}
	for _, name := range []string{"sh", "sleep", "cat", "echo", "id", "ps", "ls", "hostname", "touch", "kill", "ip", "grep", "mount", "ipcs"} {
		files = append(files, archive.File{Path: "bin/" + name, Link: "busybox"})
	}
	var b bytes.Buffer
	if err := archive.Write(&b, archive.Image{
		Name:   busybox,
		Config: imagespec.ImageConfig{Cmd: []string{"sh"}, Env: []string{"PATH=/bin"}},
		Layers: []archive.Layer{archive.Files(files...)},
	}); err != nil {
		t.Fatal(err)
	}
	return &b
}

// serveCNI answers the stub with an address that is on no interface.
func serveCNI(t testing.TB, socket string) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				call, _ := io.ReadAll(c)
				lines := strings.SplitN(string(call), "\n", 6)
				switch lines[0] {
				case "ADD":
					fmt.Fprintf(c, `0{"cniVersion":"1.0.0","interfaces":[{"name":%q,"sandbox":%q}],"ips":[{"address":"192.0.2.7/32","interface":0}]}`, lines[3], lines[2])
				case "VERSION":
					fmt.Fprint(c, `0{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}`)
				default:
					fmt.Fprint(c, "0")
				}
			}()
		}
	}()
}

func writeConfList(t testing.TB, dir, socket string) {
	t.Helper()
	data, err := json.Marshal(map[string]any{
		"cniVersion": "1.0.0", "name": "test",
		"plugins": []any{map[string]any{"type": CNIPlugin, "socket": socket, "capabilities": map[string]bool{"portMappings": true}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "10-test.conflist"), data, 0o644); err != nil {
		t.Fatal(err)
	}
}
