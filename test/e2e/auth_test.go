package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// settled tries a command of kubectl until it succeeds: authorizers and controllers learn by watches.
func (n *namespace) settled(args ...string) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := n.try(args...)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			n.t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
		}
	}
}

// byToken is a command of kubectl with a token alone: the administrator's certificate would go before it.
func (n *namespace) byToken(token string, args ...string) []string {
	n.t.Helper()
	file := filepath.Join(n.t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(n.kubectl("config", "view", "--raw", "--flatten")), 0o600); err != nil {
		n.t.Fatal(err)
	}
	n.kubectl("--kubeconfig", file, "config", "unset", "users")
	return append([]string{"--kubeconfig", file, "--token", token}, args...)
}

// TestS31Certificate: a request for a certificate is approved and signed, and the user is who it says.
func TestS31Certificate(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "grace", Organization: []string{"crew"}}}, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	request := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	n.apply(fmt.Sprintf(`
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: %s}
spec: {signerName: kubernetes.io/kube-apiserver-client, usages: [client auth], expirationSeconds: 3600, request: %s}
`, n.name, request))
	t.Cleanup(func() { n.command(context.Background(), "delete", "csr", n.name).Run() }) //nolint:errcheck // it goes by itself, later
	if out := n.kubectl("get", "csr", n.name, "--no-headers"); !lineWith(out, n.name, "kubernetes.io/kube-apiserver-client", "60m", "Pending") {
		t.Errorf("before it is approved: %s", out)
	}
	n.kubectl("certificate", "approve", n.name)
	n.kubectl("wait", "csr", n.name, "--for=jsonpath={.status.certificate}", "--timeout=60s")
	certificate, err := base64.StdEncoding.DecodeString(n.kubectl("get", "csr", n.name, "-o", "jsonpath={.status.certificate}"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for file, data := range map[string][]byte{certFile: certificate, keyFile: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	as := func(args ...string) []string {
		return append([]string{"--client-certificate", certFile, "--client-key", keyFile}, args...)
	}
	if out := n.kubectl(as("auth", "whoami")...); !lineWith(out, "Username", "grace") || !lineWith(out, "Groups", "[crew", "system:authenticated]") {
		t.Errorf("by the certificate: %s", out)
	}
	n.refused(as("get", "pods"), `pods is forbidden: User "grace" cannot list resource "pods" in API group "" in the namespace "`+n.name+`"`)
	n.kubectl("create", "rolebinding", "crew", "--clusterrole=view", "--group=crew")
	n.settled(as("get", "pods")...)
	n.refused(n.byToken("nonsense", "get", "pods"), "You must be logged in to the server")
}

// TestS32Roles: aggregated roles follow their parts; nobody grants what they do not have.
func TestS32Roles(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	label := "aggregate.example.com/" + n.name
	for _, role := range []string{n.name, n.name + "-part"} {
		t.Cleanup(func() { n.command(context.Background(), "delete", "clusterrole", role).Run() }) //nolint:errcheck // not there is well
	}
	n.kubectl("create", "clusterrole", n.name, "--aggregation-rule="+label+"=true")
	n.kubectl("create", "rolebinding", "ann", "--clusterrole="+n.name, "--user=ann")
	n.refused([]string{"get", "configmaps", "--as", "ann"}, "Forbidden")
	n.kubectl("create", "clusterrole", n.name+"-part", "--verb=list", "--resource=configmaps")
	n.kubectl("label", "clusterrole", n.name+"-part", label+"=true")
	n.settled("get", "configmaps", "--as", "ann")
	n.kubectl("create", "rolebinding", "dave", "--clusterrole=admin", "--user=dave")
	n.settled("create", "role", "reader", "--verb=get", "--resource=pods", "--as", "dave")
	n.refused([]string{"create", "role", "more", "--verb=get", "--resource=nodes", "--as", "dave"}, "is attempting to grant RBAC permissions not currently held")
	n.refused([]string{"create", "rolebinding", "more", "--clusterrole=cluster-admin", "--user=dave", "--as", "dave"}, "is attempting to grant RBAC permissions not currently held")
	if out, err := n.try("auth", "can-i", "delete", "nodes", "--as", "dave"); err == nil || strings.TrimSpace(out) != "no" {
		t.Errorf("may dave delete nodes? %s, %v", out, err)
	}
	file := filepath.Join(t.TempDir(), "role.yaml")
	if err := os.WriteFile(file, []byte(n.kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods", "--dry-run=client", "-o", "yaml")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := n.kubectl("auth", "reconcile", "-f", file); !strings.Contains(out, "role.rbac.authorization.k8s.io/reader reconciled") {
		t.Errorf("kubectl auth reconcile: %s", out)
	}
	if out := n.kubectl("auth", "can-i", "--list", "--as", "dave"); !lineWith(out, "roles.rbac.authorization.k8s.io", "[create delete deletecollection get list patch update watch]") {
		t.Errorf("what dave may do: %s", out)
	}
	if out := n.kubectl("get", "role", "reader", "-o", "jsonpath={.rules[*].verbs}"); !strings.Contains(out, "list") {
		t.Errorf("the verbs of the reconciled role: %s", out)
	}
}

const accountPod = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
imagePullSecrets: [{name: registry}]
---
apiVersion: v1
kind: Pod
metadata: {name: robot}
spec:
  serviceAccountName: robot
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: workload, imagePullPolicy: Never, args: [serve]}]
`

// TestS33ServiceAccount: a pod talks to the API with exactly its rights.
func TestS33ServiceAccount(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.settled("get", "serviceaccount", "default")
	n.apply(accountPod)
	n.kubectl("wait", "--for=condition=Ready", "pod/robot", "--timeout=60s")
	if out := n.kubectl("get", "pod", "robot", "-o", "jsonpath={.spec.imagePullSecrets[*].name}"); out != "registry" {
		t.Errorf("the pod's image pull secrets are %q", out)
	}
	pods := "/api/v1/namespaces/" + n.name + "/pods"
	ask := func(path string) []string { return []string{"exec", "robot", "--", "/bin/workload", "api", path} }
	user := "system:serviceaccount:" + n.name + ":robot"
	if out, err := n.try(ask(pods)...); err == nil || !strings.Contains(out, `pods is forbidden: User \"`+user+`\" cannot list resource \"pods\"`) {
		t.Errorf("without a role: %s, %v", out, err)
	}
	n.kubectl("create", "role", "reader", "--verb=list", "--resource=pods")
	n.kubectl("create", "rolebinding", "robot", "--role=reader", "--serviceaccount="+n.name+":robot")
	n.settled(ask(pods)...)
	if out := n.kubectl(ask(pods)...); !strings.Contains(out, `"kind":"PodList"`) {
		t.Errorf("with a role: %s", out)
	}
	for _, path := range []string{pods + "/robot", "/api/v1/namespaces/default/pods", "/api/v1/namespaces/" + n.name + "/secrets"} {
		if out, err := n.try(ask(path)...); err == nil {
			t.Errorf("%s is answered: %s", path, out)
		}
	}
	token := strings.TrimSpace(n.kubectl("create", "token", "robot", "--bound-object-kind=Pod", "--bound-object-name=robot"))
	if out := n.kubectl(n.byToken(token, "auth", "whoami")...); !lineWith(out, "Username", user) || !lineWith(out, "authentication.kubernetes.io/pod-name", "[robot]") {
		t.Errorf("by a token bound to the pod: %s", out)
	}
}
