package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"coracle.dev/coracle/nodeagent/internal/netnstest"
)

// TestMain gives the tests a mount namespace of their own.
func TestMain(m *testing.M) { netnstest.Main(m) }

// tree reads a folder as its users see it.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	var walk func(string)
	walk = func(rel string) {
		entries, err := os.ReadDir(filepath.Join(dir, rel))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			path := filepath.Join(rel, e.Name())
			info, err := os.Stat(filepath.Join(dir, path))
			if err != nil {
				t.Fatal(err)
			}
			if rel == "" && len(e.Name()) > 1 && e.Name()[:2] == ".." {
				continue
			}
			if info.IsDir() {
				walk(path)
				continue
			}
			data, err := os.ReadFile(filepath.Join(dir, path))
			if err != nil {
				t.Fatal(err)
			}
			out[path] = info.Mode().Perm().String() + " " + string(data)
		}
	}
	walk("")
	return out
}

func TestAtomic(t *testing.T) {
	dir := t.TempDir()
	write := func(p payload) {
		t.Helper()
		if err := writePayload(dir, p, nil); err != nil {
			t.Fatal(err)
		}
	}
	link := func() string { l, _ := os.Readlink(filepath.Join(dir, dataLink)); return l }
	write(payload{"a": {data: []byte("1"), mode: 0o644}, "sub/b": {data: []byte("2"), mode: 0o400}})
	if diff := cmp.Diff(map[string]string{"a": "-rw-r--r-- 1", "sub/b": "-r-------- 2"}, tree(t, dir)); diff != "" {
		t.Error(diff)
	}
	first := link()
	write(payload{"a": {data: []byte("1"), mode: 0o644}, "sub/b": {data: []byte("2"), mode: 0o400}})
	if link() != first {
		t.Error("the same content was written again")
	}
	open, err := os.Open(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	write(payload{"a": {data: []byte("3"), mode: 0o644}, "c": {data: []byte("4"), mode: 0o644}})
	if diff := cmp.Diff(map[string]string{"a": "-rw-r--r-- 3", "c": "-rw-r--r-- 4"}, tree(t, dir)); diff != "" {
		t.Error(diff)
	}
	old := make([]byte, 1)
	if _, err := open.Read(old); err != nil || string(old) != "1" {
		t.Errorf("a file that is open changed: %q, %v", old, err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 4 { // a, c, ..data and its folder
		t.Errorf("left behind: %v", entries)
	}
	for _, bad := range []string{"", "/abs", "../up", "a/../../b", "..hidden"} {
		if err := writePayload(dir, payload{bad: {}}, nil); err == nil {
			t.Errorf("path %q was accepted", bad)
		}
	}
}

func TestHostPathTypes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		kind corev1.HostPathType
		ok   bool
	}{
		{dir, "", true}, {dir + "/no", "", true}, {dir, "Directory", true}, {file, "Directory", false}, {dir + "/no", "Directory", false},
		{dir + "/made", "DirectoryOrCreate", true}, {file, "DirectoryOrCreate", false}, {file, "File", true}, {dir, "File", false}, {dir + "/f", "FileOrCreate", true},
		{"/dev/null", "CharDevice", true}, {file, "CharDevice", false}, {file, "Socket", false}, {"/dev/null", "BlockDevice", false},
	} {
		if err := checkHostPath(c.path, ptr.To(c.kind)); (err == nil) != c.ok {
			t.Errorf("%s as %q: %v", c.path, c.kind, err)
		}
	}
}

func TestSubPathStaysInside(t *testing.T) {
	volume, outside, target := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"abs": outside, "up": "../" + filepath.Base(outside), "in": "real"} {
		if err := os.Symlink(to, filepath.Join(volume, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path string
		ok   bool
	}{
		// A link's target is not made: "in" can be used once "real" is there.
		{"in", false}, {"real", true}, {"in", true}, {"new/deep", true}, {"abs", false}, {"up", false}, {"abs/secret", false}, {"up/new", false},
	} {
		err := bindSubPath(volume, c.path, target)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.path, err)
		}
		if err := unmountAll(target); err != nil {
			t.Fatal(err)
		}
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 1 {
		t.Errorf("something was made outside: %v", entries)
	}
}

// TestTeardown: data of the host that is mounted into a pod's folder survives.
func TestTeardown(t *testing.T) {
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	m := New(Config{Root: t.TempDir(), Client: fake.NewClientset()})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u"}, Spec: corev1.PodSpec{Volumes: []corev1.Volume{
		{Name: "mem", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
		{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: host}}},
	}}}
	paths, err := m.Setup(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.SubPath("u", "host", "c", 0, paths["host"], "."); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(paths["mem"], "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Setup(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(paths["mem"], "x")); err != nil {
		t.Errorf("a second setup lost data: %v", err)
	}
	if err := m.Teardown("u"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(m.PodDir("u")); !os.IsNotExist(err) {
		t.Errorf("the pod's folder is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(host, "precious")); err != nil {
		t.Errorf("the host lost data: %v", err)
	}
}

func TestTokens(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	client := fake.NewClientset()
	var asked int
	var fail error
	client.PrependReactor("create", "serviceaccounts", func(a clienttesting.Action) (bool, runtime.Object, error) {
		asked++
		req := a.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenRequest)
		if ref := req.Spec.BoundObjectRef; ref == nil || ref.Name != "p" || ref.UID != "u" {
			t.Errorf("bound to %+v", ref)
		}
		return true, &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{
			Token: string(rune('a' + asked)), ExpirationTimestamp: metav1.NewTime(now.Add(time.Duration(*req.Spec.ExpirationSeconds) * time.Second)),
		}}, fail
	})
	tk := &tokens{client: client, now: func() time.Time { return now }, cache: map[tokenKey]*token{}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u"}}
	get := func() string {
		t.Helper()
		s, err := tk.get(context.Background(), pod, &corev1.ServiceAccountTokenProjection{ExpirationSeconds: ptr.To[int64](1000)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if first, again := get(), get(); first != "b" || again != "b" || asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	next := tk.next("u").Sub(now)
	if next > 800*time.Second || next < 790*time.Second {
		t.Errorf("to be replaced after %v of 1000 s", next)
	}
	now = now.Add(801 * time.Second)
	fail = errors.New("away")
	if get() != "b" {
		t.Error("the old token does not serve while the API server is away")
	}
	now, fail = now.Add(2*time.Minute), nil
	if got := get(); got != "d" {
		t.Errorf("token %q", got)
	}
	now, fail = now.Add(2000*time.Second), errors.New("away")
	if _, err := tk.get(context.Background(), pod, &corev1.ServiceAccountTokenProjection{ExpirationSeconds: ptr.To[int64](1000)}); err == nil {
		t.Error("an expired token serves")
	}
}
