package storage

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/storage"

	"coracle.dev/coracle/apis/catalog"
)

func open(t *testing.T, dir string) *Backend {
	t.Helper()
	b, err := Open(t.Context(), Options{DataDir: dir, UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func configMaps(t *testing.T, b *Backend, media string) storage.Interface {
	t.Helper()
	e, err := NewEncoding(serializer.NewCodecFactory(catalog.NewScheme()), corev1.SchemeGroupVersion, media)
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.Raw(corev1.Resource("configmaps"), e, "configmaps",
		func() runtime.Object { return &corev1.ConfigMap{} }, func() runtime.Object { return &corev1.ConfigMapList{} })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etcd")
	b := open(t, dir)
	in := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"k": "v"}}
	if err := configMaps(t, b, Protobuf).Create(t.Context(), "/configmaps/x/a", in, nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Check(t.Context()); err != nil {
		t.Errorf("not healthy: %v", err)
	}
	b.Close()

	b = open(t, dir)
	defer b.Close()
	var out corev1.ConfigMap
	if err := configMaps(t, b, JSON).Get(t.Context(), "/configmaps/x/a", storage.GetOptions{}, &out); err != nil {
		t.Fatal(err)
	}
	if out.Data["k"] != "v" {
		t.Errorf("got %v", out.Data)
	}
}

func TestDecodedObjectsHaveNoKind(t *testing.T) {
	b := open(t, t.TempDir())
	defer b.Close()
	s := configMaps(t, b, JSON)
	in := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	if err := s.Create(t.Context(), "/configmaps/x/a", in, nil, 0); err != nil {
		t.Fatal(err)
	}
	var out corev1.ConfigMap
	if err := s.Get(t.Context(), "/configmaps/x/a", storage.GetOptions{}, &out); err != nil {
		t.Fatal(err)
	}
	if out.TypeMeta != (metav1.TypeMeta{}) {
		t.Errorf("got %+v", out.TypeMeta)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	defer b.Close()
	_, err := Open(t.Context(), Options{DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), "in use by process") || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}

func TestCorruptDataIsNamed(t *testing.T) {
	dir := t.TempDir()
	open(t, dir).Close()
	db := filepath.Join(dir, "member", "snap", "db")
	if err := os.WriteFile(db, []byte(strings.Repeat("garbage", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Options{DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), db) || !strings.Contains(err.Error(), "backup") {
		t.Errorf("got %v", err)
	}
}

func TestCorruptLogIsNamed(t *testing.T) {
	dir := t.TempDir()
	open(t, dir).Close()
	logs, err := filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no write-ahead log: %v", err)
	}
	for _, l := range logs {
		if err := os.WriteFile(l, []byte(strings.Repeat("garbage", 4096)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := Open(t.Context(), Options{DataDir: dir})
	if err == nil {
		b.Close()
	}
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}

func TestExternal(t *testing.T) {
	c := embed.NewConfig()
	c.Dir, c.UnsafeNoFsync, c.LogLevel, c.LogOutputs = t.TempDir(), true, "panic", []string{os.DevNull}
	c.TickMs, c.ElectionMs = 10, 100
	free := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	c.ListenClientUrls, c.ListenPeerUrls = []url.URL{free}, []url.URL{free}
	c.AdvertiseClientUrls, c.AdvertisePeerUrls = []url.URL{free}, []url.URL{free}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	server, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	<-server.Server.ReadyNotify()

	b, err := Open(t.Context(), Options{Servers: []string{"http://" + server.Clients[0].Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Embedded() {
		t.Error("it is taken for embedded")
	}
	if err := b.Check(t.Context()); err != nil {
		t.Error(err)
	}
	s := configMaps(t, b, Protobuf)
	in := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"k": "v"}}
	if err := s.Create(t.Context(), "/configmaps/x/a", in, nil, 0); err != nil {
		t.Fatal(err)
	}
	kv, err := v3client.New(server.Server).Get(t.Context(), "/registry/configmaps/x/a")
	if err != nil || kv.Count != 1 {
		t.Errorf("the key is not where Kubernetes looks for it: %v, %v", kv, err)
	}
}

func TestPrefixes(t *testing.T) {
	for gr, want := range map[schema.GroupResource]string{
		{Resource: "pods"}:                                  "pods",
		{Resource: "services"}:                              "services/specs",
		{Resource: "nodes"}:                                 "minions",
		{Group: "apps", Resource: "deployments"}:            "deployments",
		{Group: "networking.k8s.io", Resource: "ingresses"}: "ingress",
	} {
		if got := BuiltinPrefix(gr); got != want {
			t.Errorf("%s is kept at %s, want %s", gr, got, want)
		}
	}
}

// TestRewriteMigrates stores an object in the encoding of today when it is updated without a change:
// that is how what older versions have stored is brought up to date.
func TestRewriteMigrates(t *testing.T) {
	b := open(t, t.TempDir())
	defer b.Close()
	in := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "x"}, Data: map[string]string{"k": secret}}
	if err := configMaps(t, b, JSON).Create(t.Context(), "/configmaps/x/a", in, nil, 0); err != nil {
		t.Fatal(err)
	}
	if before := stored(t, b); !strings.HasPrefix(before, "{") {
		t.Fatalf("stored as %.20q", before)
	}
	rewrite(t, b)
	now := stored(t, b)
	if !strings.HasPrefix(now, "k8s\x00") {
		t.Errorf("stored as %.20q", now)
	}
	checkRead(t, b)
	rewrite(t, b)
	if stored(t, b) != now {
		t.Error("what was up to date is written again")
	}
}
