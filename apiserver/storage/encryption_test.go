package storage

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig/controller"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/kms/pkg/service"
)

const secret = "what nobody may read"

// key is a provider with one key of 32 bytes.
func key(provider, name string) string {
	k := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte(name), 32)[:32])
	return fmt.Sprintf("- %s: {keys: [{name: %s, secret: %s}]}", provider, name, k)
}

// write makes a configuration of the given providers for config maps.
func write(t *testing.T, file string, providers ...string) {
	t.Helper()
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [configmaps]\n  providers:\n  " + strings.Join(providers, "\n  ") + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func openEncrypted(t *testing.T, dir, file string, reload bool) *Backend {
	t.Helper()
	b, err := Open(t.Context(), Options{DataDir: dir, UnsafeNoFsync: true, Encryption: EncryptionOptions{ConfigFile: file, Reload: reload, ServerID: "test"}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stored is what etcd has of the config map.
func stored(t *testing.T, b *Backend) string {
	t.Helper()
	r, err := b.source.(*embedded).client.KV.Get(t.Context(), DefaultPrefix+"/configmaps/x/a")
	if err != nil || len(r.Kvs) != 1 {
		t.Fatalf("reading from etcd: %v, %v", r, err)
	}
	return string(r.Kvs[0].Value)
}

func checkRead(t *testing.T, b *Backend) {
	t.Helper()
	var out corev1.ConfigMap
	if err := configMaps(t, b, Protobuf).Get(t.Context(), "/configmaps/x/a", storage.GetOptions{}, &out); err != nil {
		t.Fatal(err)
	}
	if out.Data["k"] != secret {
		t.Errorf("read %v", out.Data)
	}
}

// rewrite updates the object without a change.
func rewrite(t *testing.T, b *Backend) {
	t.Helper()
	same := func(obj runtime.Object, _ storage.ResponseMeta) (runtime.Object, *uint64, error) {
		return obj, nil, nil
	}
	if err := configMaps(t, b, Protobuf).GuaranteedUpdate(t.Context(), "/configmaps/x/a", &corev1.ConfigMap{}, false, nil, same, nil); err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, b *Backend) {
	t.Helper()
	in := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "x"}, Data: map[string]string{"k": secret}}
	if err := configMaps(t, b, Protobuf).Create(t.Context(), "/configmaps/x/a", in, nil, 0); err != nil {
		t.Fatal(err)
	}
}

// TestEncryption goes from clear text through all providers, one after the other, and back.
func TestEncryption(t *testing.T) {
	socket := startKMS(t)
	dir, file := filepath.Join(t.TempDir(), "etcd"), filepath.Join(t.TempDir(), "encryption.yaml")
	b := open(t, dir)
	create(t, b)
	if !strings.Contains(stored(t, b), secret) {
		t.Error("not in the clear without a configuration")
	}
	b.Close()
	before := "- identity: {}"
	for _, step := range []struct{ provider, prefix string }{
		{key("aescbc", "one"), "k8s:enc:aescbc:v1:one:"},
		{key("aescbc", "two"), "k8s:enc:aescbc:v1:two:"},
		{key("aesgcm", "three"), "k8s:enc:aesgcm:v1:three:"},
		{key("secretbox", "four"), "k8s:enc:secretbox:v1:four:"},
		{fmt.Sprintf("- kms: {apiVersion: v2, name: vault, endpoint: 'unix://%s'}", socket), "k8s:enc:kms:v2:vault:"},
		{"- identity: {}", "k8s\x00"},
	} {
		write(t, file, step.provider, before)
		b := openEncrypted(t, dir, file, false)
		checkRead(t, b)
		was := stored(t, b)
		rewrite(t, b)
		now := stored(t, b)
		if !strings.HasPrefix(now, step.prefix) || strings.Contains(now, secret) != (step.provider == "- identity: {}") {
			t.Errorf("%q is stored as %.40q", step.prefix, now)
		}
		if was == now {
			t.Errorf("%q is not written anew", step.prefix)
		}
		rewrite(t, b)
		if stored(t, b) != now {
			t.Errorf("%q is written though it was up to date", step.prefix)
		}
		checkRead(t, b)
		b.Close()
		write(t, file, step.provider) // the old key is not needed any more
		b = openEncrypted(t, dir, file, false)
		checkRead(t, b)
		b.Close()
		before = step.provider
	}
}

func TestWrongKeyIsNamed(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "encryption.yaml")
	write(t, file, key("aesgcm", "one"))
	b := openEncrypted(t, dir, file, false)
	create(t, b)
	b.Close()
	write(t, file, key("aesgcm", "two"))
	b = openEncrypted(t, dir, file, false)
	defer b.Close()
	err := configMaps(t, b, Protobuf).Get(t.Context(), "/configmaps/x/a", storage.GetOptions{}, &corev1.ConfigMap{})
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("got %v", err)
	}
	write(t, file, "- nonsense: {}")
	if _, err := Open(t.Context(), Options{DataDir: t.TempDir(), Encryption: EncryptionOptions{ConfigFile: file}}); err == nil || !strings.Contains(err.Error(), "--encryption-provider-config") {
		t.Errorf("a bad configuration: %v", err)
	}
}

// TestReloadEncryption rotates a key without a restart.
func TestReloadEncryption(t *testing.T) {
	poll := controller.EncryptionConfigFileChangePollDuration
	controller.EncryptionConfigFileChangePollDuration = 10 * time.Millisecond
	t.Cleanup(func() { controller.EncryptionConfigFileChangePollDuration = poll })
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "encryption.yaml")
	write(t, file, key("secretbox", "one"))
	b := openEncrypted(t, dir, file, true)
	defer b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.ReloadEncryption(ctx) }()
	defer func() { cancel(); <-done }()
	create(t, b)
	next := file + ".new"
	write(t, next, key("secretbox", "two"), key("secretbox", "one"))
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); !strings.HasPrefix(stored(t, b), "k8s:enc:secretbox:v1:two:"); {
		if time.Now().After(end) {
			t.Fatalf("still stored as %.30q", stored(t, b))
		}
		rewrite(t, b)
	}
	checkRead(t, b)
	for _, c := range b.EncryptionChecks() {
		if c.Name() != "kms-providers" {
			t.Errorf("a check is called %q", c.Name())
		}
	}
}

// TestKeyServiceFails says that the server is not ready as long as the service is not.
func TestKeyServiceFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "encryption.yaml")
	write(t, file, fmt.Sprintf("- kms: {apiVersion: v2, name: vault, timeout: 1s, endpoint: 'unix://%s'}", filepath.Join(t.TempDir(), "none")))
	b := openEncrypted(t, t.TempDir(), file, false)
	defer b.Close()
	if len(b.EncryptionChecks()) != 1 {
		t.Fatalf("checks: %v", b.EncryptionChecks())
	}
	err := configMaps(t, b, Protobuf).Create(t.Context(), "/configmaps/x/a", &corev1.ConfigMap{Data: map[string]string{"k": secret}}, nil, 0)
	if err == nil {
		t.Error("stored without a key")
	}
}

// keyService encrypts with a key that it never gives away.
type keyService struct {
	aead  cipher.AEAD
	calls atomic.Int32
}

func startKMS(t *testing.T) string {
	t.Helper()
	k := make([]byte, 32)
	_, _ = rand.Read(k) // never fails
	block, err := aes.NewCipher(k)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "kms") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	s := &keyService{aead: aead}
	server := service.NewGRPCService(socket, 10*time.Second, s)
	done := make(chan error, 1)
	go func() { done <- server.ListenAndServe() }()
	t.Cleanup(func() {
		server.Shutdown()
		if err := <-done; err != nil {
			t.Errorf("serving keys: %v", err)
		}
		os.RemoveAll(dir)
		if s.calls.Load() == 0 {
			t.Error("the key service was never asked")
		}
	})
	return socket
}

// Encrypt implements service.Service.
func (s *keyService) Encrypt(_ context.Context, _ string, data []byte) (*service.EncryptResponse, error) {
	s.calls.Add(1)
	return &service.EncryptResponse{Ciphertext: s.aead.Seal(nil, nil, data, nil), KeyID: "1"}, nil
}

// Decrypt implements service.Service.
func (s *keyService) Decrypt(_ context.Context, _ string, req *service.DecryptRequest) ([]byte, error) {
	if req.KeyID != "1" {
		return nil, errors.New("unknown key")
	}
	return s.aead.Open(nil, nil, req.Ciphertext, nil)
}

// Status implements service.Service.
func (s *keyService) Status(context.Context) (*service.StatusResponse, error) {
	return &service.StatusResponse{Version: "v2", Healthz: "ok", KeyID: "1"}, nil
}
