// Package apiservertest starts API servers for tests: an embedded etcd in a temporary directory
// without fsync, a free port on loopback, and everybody allowed everything unless the test says
// otherwise.
//
// Tests only. Code outside of tests under controllers, scheduler and nodeagent does not import the
// API server.
package apiservertest

import (
	"context"
	"encoding/csv"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"

	"coracle.dev/coracle/apiserver"
)

// Admin is the user of the configuration that Start returns.
var Admin = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}

// token is Admin's bearer token on TLS.
const token = "admin-token"

// Start runs a server until the test ends, and returns when it is ready. The configuration is
// in-process, acts as Admin and has no rate limit; TLS gives one for the network.
func Start(t testing.TB, change ...func(*apiserver.Options)) (*rest.Config, *apiserver.Server) {
	t.Helper()
	o := apiserver.NewOptions()
	o.BindAddress, o.SecurePort = net.IPv4(127, 0, 0, 1), 0
	o.AdvertiseAddress = net.IPv4(192, 0, 2, 1) // endpoints must not be on loopback
	o.Etcd.DataDir = filepath.Join(t.TempDir(), "etcd")
	o.Etcd.UnsafeNoFsync = true
	o.AuthorizationModes = []string{"AlwaysAllow"}
	o.Authentication.TokenAuthFile = tokenFile(t)
	o.Authentication.ServiceAccountSigningKeyFile = signingKey(t)
	// There are no controllers to make service accounts, and to take taints and finalizers off again.
	o.DisableAdmissionPlugins = []string{"ServiceAccount", "TaintNodesByCondition", "StorageObjectInUseProtection"}
	for _, f := range change {
		f(o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	config, err := o.Config(ctx)
	if err != nil {
		cancel()
		t.Fatalf("configuring API server: %v", err)
	}
	server, err := config.Complete().New(ctx)
	if err != nil {
		cancel()
		t.Fatalf("making API server: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running API server: %v", err)
		}
	})
	select {
	case <-server.Ready():
	case <-time.After(30 * time.Second):
		t.Fatal("API server is not ready after 30 s")
	}
	return server.ClientConfig(Admin), server
}

// TLS returns a configuration for clients that act as Admin over the network.
func TLS(s *apiserver.Server) *rest.Config {
	return &rest.Config{
		Host: "https://" + s.Addr(), BearerToken: token, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.ServingCertificate()},
	}
}

func signingKey(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sa.key")
	key, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	if err := keyutil.WriteKey(path, key); err != nil {
		t.Fatal(err)
	}
	return path
}

func tokenFile(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	w := csv.NewWriter(&b)
	if err := w.Write([]string{token, Admin.Name, "", strings.Join(Admin.Groups[:1], ",")}); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	path := filepath.Join(t.TempDir(), "tokens.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
