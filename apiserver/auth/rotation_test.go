package auth_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-jose/go-jose/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/keyutil"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
)

// TestRotation changes the signing key and the issuer, and keeps the data: tokens made before are good
// while the old key and issuer are named, and no longer when they are not.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	key := func(name string) string {
		pem, err := keyutil.MakeEllipticPrivateKeyPEM()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const oldIssuer, newIssuer = "https://old.example.com", "https://new.example.com"
	first, second := key("first"), key("second")
	var token string
	for _, step := range []struct {
		name    string
		signing string
		keys    []string
		issuers []string
		jwks    string
		good    bool
	}{
		{"with the first key", first, nil, []string{oldIssuer}, "", true},
		{"with both", second, []string{second, first}, []string{newIssuer, oldIssuer}, "https://keys.example.com/all", true},
		{"with the second key alone", second, []string{second}, []string{newIssuer, oldIssuer}, "", false},
		{"with the second issuer alone", second, []string{second, first}, []string{newIssuer}, "", false},
	} {
		t.Run(step.name, func(t *testing.T) {
			cfg, server := apiservertest.Start(t, func(o *apiserver.Options) {
				o.Etcd.DataDir = filepath.Join(dir, "etcd")
				a := &o.Authentication
				a.ServiceAccountSigningKeyFile, a.ServiceAccountKeyFiles = step.signing, step.keys
				a.ServiceAccountIssuers, a.ServiceAccountJWKSURI = step.issuers, step.jwks
				a.APIAudiences = []string{"api"}
			})
			client, err := kubernetes.NewForConfig(cfg)
			if err != nil {
				t.Fatal(err)
			}
			c := &cluster{T: t, server: server, admin: client}
			if token == "" {
				c.account("default", "robot")
				token = c.token("default", "robot", authenticationv1.TokenRequestSpec{})
			}
			if got := accepted(c, token); got != step.good {
				t.Errorf("the first token is good: %v, want %v", got, step.good)
			}
			if !accepted(c, c.token("default", "robot", authenticationv1.TokenRequestSpec{})) {
				t.Error("a new token is refused")
			}
			checkDocuments(c, step.issuers[0], step.jwks, max(1, len(step.keys)))
		})
	}
}

func accepted(c *cluster, token string) bool {
	c.Helper()
	r, err := c.admin.AuthenticationV1().TokenReviews().Create(c.Context(), &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	c.must(err)
	return r.Status.Authenticated
}

func checkDocuments(c *cluster, issuer, keys string, count int) {
	c.Helper()
	if keys == "" {
		keys = issuer + "/openid/v1/jwks"
	}
	get := func(path string, into any) {
		c.Helper()
		body, err := c.admin.CoreV1().RESTClient().Get().AbsPath(path).DoRaw(c.Context())
		c.must(err)
		c.must(json.Unmarshal(body, into))
	}
	var document struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	get("/.well-known/openid-configuration", &document)
	if document.Issuer != issuer || document.Keys != keys {
		c.Errorf("the issuer's document is %+v, want issuer %s and keys at %s", document, issuer, keys)
	}
	var set jose.JSONWebKeySet
	get("/openid/v1/jwks", &set)
	if len(set.Keys) != count {
		c.Errorf("%d keys are published, want %d", len(set.Keys), count)
	}
}

// TestTokenOfASecret: what is bound to a secret ends with it.
func TestTokenOfASecret(t *testing.T) {
	cfg, server := apiservertest.Start(t)
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{T: t, server: server, admin: client}
	c.account("default", "robot")
	secret, err := client.CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name: "robot-token", Annotations: map[string]string{"kubernetes.io/service-account.name": "robot"}}, Type: corev1.SecretTypeServiceAccountToken}, metav1.CreateOptions{})
	c.must(err)
	spec := authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: secret.Name, UID: secret.UID}}
	seen, unseen := c.token("default", "robot", spec), c.token("default", "robot", spec)
	if !accepted(c, seen) {
		t.Error("the token is refused")
	}
	c.must(client.CoreV1().Secrets("default").Delete(t.Context(), secret.Name, metav1.DeleteOptions{}))
	c.eventually("the end of the token", func() error {
		if accepted(c, unseen) {
			return errStill
		}
		return nil
	})
}

var errStill = errors.New("the token is accepted still")
