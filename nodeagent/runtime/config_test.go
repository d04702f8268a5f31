package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestConfigErrors(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		want   string
	}{
		"relative":    {Config{RootDir: "root", RunDir: "/run/x"}, `RootDir "root" must be an absolute path`},
		"none":        {Config{RootDir: "/x"}, `RunDir "" must be an absolute path`},
		"long":        {Config{RootDir: "/x", RunDir: "/" + strings.Repeat("x", 90)}, "is too long for a socket's path: at most 85 bytes"},
		"quoted":      {Config{RootDir: "/it's", RunDir: "/run/x"}, "must not have quotes"},
		"snapshotter": {Config{RootDir: "/x", RunDir: "/y", Snapshotter: "zfs"}, `snapshotter "zfs" is not one of overlayfs and native`},
	} {
		if _, err := test.config.withDefaults(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
}

func TestSocketDirFits(t *testing.T) {
	for _, run := range []string{"/run/coracle/a", "/run/coracle/" + strings.Repeat("a", 60)} {
		if dir := (Config{RunDir: run}).socketDir(); len(dir) > maximumSocketDir {
			t.Errorf("%s is too long for shims' sockets", dir)
		}
	}
	a, b := Config{RunDir: "/run/" + strings.Repeat("a", 60)}, Config{RunDir: "/run/" + strings.Repeat("b", 60)}
	if a.socketDir() == b.socketDir() {
		t.Error("two runtimes share a directory")
	}
}

func TestRenderConfig(t *testing.T) {
	c, err := Config{RootDir: "/var/lib/x", RunDir: "/run/x"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for _, capable := range []bool{false, true} {
		data, err := renderConfig(c, host{sysResource: capable, snapshotter: "overlayfs"})
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Root, State string
			OOMScore    int `toml:"oom_score"`
			Plugins     map[string]map[string]any
		}
		if err := toml.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if got.Root != "/var/lib/x/containerd" || got.State != "/run/x/containerd" {
			t.Errorf("directories are %s and %s", got.Root, got.State)
		}
		cri := got.Plugins["io.containerd.cri.v1.runtime"]
		if restricted := cri["restrict_oom_score_adj"].(bool); restricted == capable || capable == (got.OOMScore == 0) {
			t.Errorf("with the capability %v: restricted %v, score %d", capable, restricted, got.OOMScore)
		}
		if got.Plugins["io.containerd.metadata.v1.bolt"]["no_sync"] != false {
			t.Error("records are not synced by default")
		}
	}
}

func TestHandlerFor(t *testing.T) {
	for name, test := range map[string]struct {
		options *runtimev1.NamespaceOption
		want    string
	}{
		"nothing said": {nil, StockHandler},
		"usual":        {&runtimev1.NamespaceOption{Pid: runtimev1.NamespaceMode_CONTAINER}, ""},
		"host": {&runtimev1.NamespaceOption{
			Network: runtimev1.NamespaceMode_NODE, Pid: runtimev1.NamespaceMode_NODE, Ipc: runtimev1.NamespaceMode_NODE,
		}, ""},
		"shared processes": {&runtimev1.NamespaceOption{Pid: runtimev1.NamespaceMode_POD}, StockHandler},
		"host's users": {&runtimev1.NamespaceOption{
			Pid: runtimev1.NamespaceMode_CONTAINER, UsernsOptions: &runtimev1.UserNamespace{Mode: runtimev1.NamespaceMode_NODE},
		}, ""},
		"users of its own": {&runtimev1.NamespaceOption{
			Pid: runtimev1.NamespaceMode_CONTAINER, UsernsOptions: &runtimev1.UserNamespace{Mode: runtimev1.NamespaceMode_POD},
		}, StockHandler},
	} {
		if got := HandlerFor(test.options); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestUnpackHelpers(t *testing.T) {
	dir := t.TempDir()
	if err := unpackHelpers(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(helperNames, shimAlias) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	modified := func() any {
		info, err := os.Stat(filepath.Join(dir, runcName))
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime()
	}
	// What is right is left alone, what is not is put right.
	before := modified()
	if err := unpackHelpers(dir); err != nil || modified() != before {
		t.Errorf("unpacked anew without need (%v)", err)
	}
	if err := os.Truncate(filepath.Join(dir, runcName), 100); err != nil {
		t.Fatal(err)
	}
	if err := unpackHelpers(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, runcName)); err != nil || info.Size() <= 100 {
		t.Errorf("a helper that was cut short is left so: %v, %v", info, err)
	}
	if _, err := readHelper("missing"); err == nil || !strings.Contains(err.Error(), "make helpers") {
		t.Errorf("a helper that was not built: %v", err)
	}
}

func TestLogIsPutAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "containerd.log")
	for _, size := range []int64{logLimit, logLimit + 1} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		f, err := openLog(path)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		_, err = os.Stat(path + ".1")
		if aside := err == nil; aside != (size > logLimit) {
			t.Errorf("size %d: put aside: %v", size, aside)
		}
	}
}
