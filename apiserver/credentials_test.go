package apiserver_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
	"coracle.dev/coracle/apiserver/auth/jwt/jwttest"
)

// startReviewer runs a server that reviews tokens and requests, and returns a kubeconfig that leads to it.
// The token hook-NAME is NAME's; allowed may do everything, and denied nothing.
func startReviewer(t *testing.T) string {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var kind metav1.TypeMeta
		var tokens authenticationv1.TokenReview
		var access authorizationv1.SubjectAccessReview
		body := json.RawMessage{}
		if json.NewDecoder(r.Body).Decode(&body) != nil || json.Unmarshal(body, &kind) != nil {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		var answer any = &tokens
		if kind.Kind == "SubjectAccessReview" {
			answer = &access
		}
		if err := json.Unmarshal(body, answer); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if name, ok := strings.CutPrefix(tokens.Spec.Token, "hook-"); ok {
			tokens.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: name, Groups: []string{"hooked"}}}
		}
		access.Status = authorizationv1.SubjectAccessReviewStatus{Allowed: access.Spec.User == "allowed", Denied: access.Spec.User == "denied", Reason: "as the hook wills"}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer) //nolint:errcheck // the client is gone
	}))
	t.Cleanup(server.Close)
	c := clientcmdapi.NewConfig()
	c.Clusters["x"] = &clientcmdapi.Cluster{
		Server: server.URL, CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	}
	c.Contexts["x"] = &clientcmdapi.Context{Cluster: "x"}
	c.CurrentContext = "x"
	path := filepath.Join(t.TempDir(), "webhook.kubeconfig")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func authenticationFile(t *testing.T, i *jwttest.Issuer) string {
	t.Helper()
	return writeFile(t, "authentication.yaml", fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous: {enabled: true, conditions: [{path: /livez}, {path: /readyz}]}
jwt:
- issuer: {url: %q, audiences: [coracle], certificateAuthority: %q}
  claimMappings:
    username: {claim: sub, prefix: 'oidc:'}
    groups: {claim: groups, prefix: 'oidc:'}
    uid: {expression: 'claims.uid'}
    extra: [{key: example.com/tenant, valueExpression: claims.tenant}]
`, i.URL, i.CA))
}

// whoami returns who the server takes the client for, with sorted groups.
func whoami(ctx context.Context, c kubernetes.Interface) (authenticationv1.UserInfo, error) {
	review, err := c.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	u := review.Status.UserInfo
	slices.Sort(u.Groups)
	delete(u.Extra, "authentication.kubernetes.io/credential-id")
	if len(u.Extra) == 0 {
		u.Extra = nil
	}
	return u, nil
}

// TestCredentials presents every kind of credential to one server (S31).
func TestCredentials(t *testing.T) {
	clients, proxies, issuer, reviewer := newAuthority(t), newAuthority(t), jwttest.Start(t), startReviewer(t)
	admin, server := apiservertest.Start(t, func(o *apiserver.Options) {
		o.AuthorizationModes = []string{"RBAC"}
		a := &o.Authentication
		a.ClientCAFile, a.RequestHeaderClientCAFile = clients.file, proxies.file
		a.RequestHeaderAllowedNames, a.RequestHeaderUID = []string{"front"}, []string{"x-remote-uid"}
		a.BootstrapToken, a.ConfigFile, a.Webhook.ConfigFile = true, authenticationFile(t, issuer), reviewer
		a.Webhook.Version = "v1"
	})
	c := clientFor(t, admin)
	account := makeBootstrapTokenAndAccount(t, c)
	bearer := func(token string) kubernetes.Interface {
		return clientFor(t, withCredentials(server, func(c *rest.Config) { c.BearerToken = token }))
	}
	claims := map[string]any{"sub": "olga", "aud": "coracle", "groups": []string{"crew"}, "uid": "42", "tenant": "sea"}
	proxied := func(by string) kubernetes.Interface {
		config := proxies.config(t, server, by)
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return named{next} })
		return clientFor(t, config)
	}
	const authenticated = "system:authenticated"
	for name, test := range map[string]struct {
		client kubernetes.Interface
		want   authenticationv1.UserInfo
	}{
		"certificate":     {clients.client(t, server, "alice", "crew"), authenticationv1.UserInfo{Username: "alice", Groups: []string{"crew", authenticated}}},
		"token file":      {clientFor(t, apiservertest.TLS(server)), authenticationv1.UserInfo{Username: "admin", Groups: []string{authenticated, "system:masters"}}},
		"front proxy":     {proxied("front"), authenticationv1.UserInfo{Username: "bob", UID: "7", Groups: []string{"cooks", authenticated}, Extra: map[string]authenticationv1.ExtraValue{"scopes": {"a", "b"}}}},
		"bootstrap token": {bearer("abcdef.0123456789abcdef"), authenticationv1.UserInfo{Username: "system:bootstrap:abcdef", Groups: []string{authenticated, "system:bootstrappers"}}},
		"service account": {bearer(account.token), authenticationv1.UserInfo{Username: "system:serviceaccount:default:robot", UID: account.uid, Groups: []string{authenticated, "system:serviceaccounts", "system:serviceaccounts:default"}}},
		"OpenID":          {bearer(issuer.Token(t, claims)), authenticationv1.UserInfo{Username: "oidc:olga", UID: "42", Groups: []string{"oidc:crew", authenticated}, Extra: map[string]authenticationv1.ExtraValue{"example.com/tenant": {"sea"}}}},
		"webhook":         {bearer("hook-hugo"), authenticationv1.UserInfo{Username: "hugo", Groups: []string{"hooked", authenticated}}},
	} {
		// The keys of the issuer are fetched while the server starts.
		eventually(t, name, func(ctx context.Context) (bool, any) {
			got, err := whoami(ctx, test.client)
			if apierrors.IsUnauthorized(err) {
				return false, err
			}
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%s: %v, user (-want +got):\n%s", name, err, diff)
			}
			return true, nil
		})
	}
	claims["aud"] = "another"
	for name, client := range map[string]kubernetes.Interface{
		"a token for others":       bearer(issuer.Token(t, claims)),
		"a token of nobody":        bearer("nobody"),
		"a wrong bootstrap secret": bearer("abcdef.aaaaaaaaaaaaaaaa"),
		"a proxy of another name":  proxied("back"),
		"a proxy by another CA":    clients.client(t, server, ""),
	} {
		if u, err := whoami(t.Context(), client); !apierrors.IsUnauthorized(err) {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
	}
	testAnonymousPaths(t, server)
}

// testAnonymousPaths: without credentials there are only the paths that the configuration names.
func testAnonymousPaths(t *testing.T, server *apiserver.Server) {
	t.Helper()
	c := clientFor(t, withCredentials(server, func(*rest.Config) {})).Discovery().RESTClient()
	for path, want := range map[string]bool{"/livez": true, "/readyz": true, "/livez/ping": false, "/version": false, "/api/v1/namespaces": false} {
		_, err := c.Get().AbsPath(path).DoRaw(t.Context())
		if (err == nil) != want || err != nil && !apierrors.IsUnauthorized(err) {
			t.Errorf("%s without credentials: %v", path, err)
		}
	}
}

// named adds the headers of a front proxy.
type named struct{ next http.RoundTripper }

func (n named) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header["X-Remote-User"], req.Header["X-Remote-Uid"] = []string{"bob"}, []string{"7"}
	req.Header["X-Remote-Group"], req.Header["X-Remote-Extra-Scopes"] = []string{"cooks"}, []string{"a", "b"}
	return n.next.RoundTrip(req)
}

type account struct{ uid, token string }

func makeBootstrapTokenAndAccount(t *testing.T, c kubernetes.Interface) account {
	t.Helper()
	ctx := t.Context()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-abcdef"}, Type: "bootstrap.kubernetes.io/token",
		StringData: map[string]string{"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"},
	}
	if _, err := c.CoreV1().Secrets("kube-system").Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	sa, err := c.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.CoreV1().ServiceAccounts("default").CreateToken(ctx, "robot", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return account{string(sa.UID), r.Status.Token}
}

// TestAuthorizers asks a webhook, policies, nodes' rules and roles in this order (S31).
func TestAuthorizers(t *testing.T) {
	policy := writeFile(t, "policy.jsonl", `{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"user":"abel","namespace":"default","resource":"configmaps","readonly":true}}`)
	reviewer := startReviewer(t)
	_, server := apiservertest.Start(t, func(o *apiserver.Options) {
		o.AuthorizationModes = []string{"Webhook", "ABAC", "Node", "RBAC"}
		o.Authorization.PolicyFile, o.Authorization.WebhookConfigFile, o.Authorization.WebhookVersion = policy, reviewer, "v1"
	})
	admin := clientFor(t, apiservertest.TLS(server))
	for _, c := range []struct{ who, verb, want string }{
		{"allowed", "delete", ""},
		{"denied", "list", `configmaps is forbidden: User "denied" cannot list resource "configmaps" in API group "" in the namespace "default": as the hook wills`},
		{"abel", "list", ""},
		{"abel", "delete", `configmaps "x" is forbidden: User "abel" cannot delete resource "configmaps" in API group "" in the namespace "default": default: as the hook wills` + "\nabac: No policy matched."},
		{"system:node:n,system:nodes", "list", `configmaps is forbidden: User "system:node:n" cannot list resource "configmaps" in API group "" in the namespace "default"`},
	} {
		name, group, _ := strings.Cut(c.who, ",")
		config := apiservertest.TLS(server)
		config.Impersonate = rest.ImpersonationConfig{UserName: name, Groups: strings.Fields(group)}
		maps := clientFor(t, config).CoreV1().ConfigMaps("default")
		var err error
		if c.verb == "list" {
			_, err = maps.List(t.Context(), metav1.ListOptions{})
		} else if err = maps.Delete(t.Context(), "x", metav1.DeleteOptions{}); apierrors.IsNotFound(err) {
			err = nil
		}
		if (err != nil) != (c.want != "") || err != nil && (!apierrors.IsForbidden(err) || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s, %s: %v, want %q", c.who, c.verb, err, c.want)
		}
	}
	config := apiservertest.TLS(server)
	config.Impersonate = rest.ImpersonationConfig{UserName: "abel"}
	rules, err := clientFor(t, config).AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(),
		&authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "default"}}, metav1.CreateOptions{})
	if err != nil || !rules.Status.Incomplete || !strings.Contains(rules.Status.EvaluationError, "webhook authorizer does not support user rule resolution") ||
		!slices.ContainsFunc(rules.Status.ResourceRules, func(r authorizationv1.ResourceRule) bool { return slices.Equal(r.Resources, []string{"configmaps"}) }) {
		t.Errorf("rules of abel: %+v, %v", rules, err)
	}
	if _, err := admin.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("a member of system:masters: %v", err)
	}
}

// TestAlwaysAllow: everything is for everybody, but for nobody who does not say who they are.
func TestAlwaysAllow(t *testing.T) {
	_, server := apiservertest.Start(t)
	config := apiservertest.TLS(server)
	config.Impersonate = rest.ImpersonationConfig{UserName: "alice"}
	if _, err := clientFor(t, config).CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("alice: %v", err)
	}
	anonymous := clientFor(t, withCredentials(server, func(*rest.Config) {}))
	if _, err := anonymous.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("anonymous: %v", err)
	}
}

// TestAlwaysDeny: nobody but system:masters.
func TestAlwaysDeny(t *testing.T) {
	admin, server := apiservertest.Start(t, func(o *apiserver.Options) { o.AuthorizationModes = []string{"AlwaysDeny"} })
	if _, err := clientFor(t, admin).CoreV1().Pods("").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("admin: %v", err)
	}
	config := apiservertest.TLS(server)
	config.Impersonate = rest.ImpersonationConfig{UserName: "alice"}
	_, err := clientFor(t, config).CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "Everything is forbidden.") {
		t.Errorf("alice: %v", err)
	}
}
