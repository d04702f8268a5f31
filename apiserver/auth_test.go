package apiserver_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
)

// authority signs client certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key, file: file}
}

// client is a client with a certificate of a user and groups.
func (a *authority) client(t *testing.T, s *apiserver.Server, name string, groups ...string) kubernetes.Interface {
	t.Helper()
	return clientFor(t, a.config(t, s, name, groups...))
}

func (a *authority) config(t *testing.T, s *apiserver.Server, name string, groups ...string) *rest.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name, Organization: groups}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return withCredentials(s, func(c *rest.Config) {
		c.CertData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		c.KeyData = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	})
}

func withCredentials(s *apiserver.Server, set func(*rest.Config)) *rest.Config {
	c := apiservertest.TLS(s)
	c.BearerToken = ""
	set(c)
	return c
}

// TestWhoMayDoWhat goes through the kinds of credentials with RBAC.
func TestWhoMayDoWhat(t *testing.T) {
	ca := newAuthority(t)
	admin, server := apiservertest.Start(t, func(o *apiserver.Options) {
		o.AuthorizationModes = []string{"Node", "RBAC"}
		o.Authentication.ClientCAFile = ca.file
	})
	list := func(c kubernetes.Interface) error {
		_, err := c.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
		return err
	}
	anonymous := clientFor(t, withCredentials(server, func(*rest.Config) {}))
	wrong := clientFor(t, withCredentials(server, func(c *rest.Config) { c.BearerToken = "wrong" }))
	alice := ca.client(t, server, "alice", "readers")
	for name, test := range map[string]struct {
		client kubernetes.Interface
		want   func(error) bool
	}{
		"master by certificate": {ca.client(t, server, "root", "system:masters"), func(err error) bool { return err == nil }},
		"master by token":       {clientFor(t, apiservertest.TLS(server)), func(err error) bool { return err == nil }},
		"user without roles":    {alice, apierrors.IsForbidden},
		"anonymous":             {anonymous, apierrors.IsForbidden},
		"wrong token":           {wrong, apierrors.IsUnauthorized},
		"unknown authority":     {newAuthority(t).client(t, server, "root", "system:masters"), apierrors.IsUnauthorized},
	} {
		if err := list(test.client); !test.want(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if b, err := anonymous.Discovery().RESTClient().Get().AbsPath("/livez").DoRaw(t.Context()); err != nil || string(b) != "ok" {
		t.Errorf("anonymous /livez: %s, %v", b, err)
	}

	c := clientFor(t, admin)
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "readers"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects: []rbacv1.Subject{
			{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "readers"},
			{Kind: "ServiceAccount", Name: "robot", Namespace: "default"},
		},
	}
	if _, err := c.RbacV1().RoleBindings("default").Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventuallyNil(t, "a bound user reading", func() error { return list(alice) })

	robot := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}
	if _, err := c.CoreV1().ServiceAccounts("default").Create(t.Context(), robot, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := c.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "robot", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	byToken := clientFor(t, withCredentials(server, func(c *rest.Config) { c.BearerToken = token.Status.Token }))
	eventuallyNil(t, "a service account reading", func() error { return list(byToken) })
	if _, err := byToken.CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("the role view reads secrets: %v", err)
	}
}

func eventuallyNil(t *testing.T, what string, f func() error) {
	t.Helper()
	eventually(t, what, func(context.Context) (bool, any) {
		err := f()
		return err == nil, err
	})
}
