package jwt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"

	"coracle.dev/coracle/apiserver/auth/jwt/jwttest"
)

const clusterIssuer = "https://kubernetes.default.svc"

func indent(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n      ")
}

// file is a configuration with an issuer, and the mappings that follow.
func file(i *jwttest.Issuer, mappings string) string {
	return fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: %s
    audiences: [coracle]
    certificateAuthority: |
      %s
%s`, i.URL, indent(i.CA), mappings)
}

const simple = "  claimMappings: {username: {claim: sub, prefix: 'oidc:'}}\n"

const rules = `  claimValidationRules:
  - expression: 'claims.tenant == "sea"'
    message: another tenant
  claimMappings:
    username: {expression: 'claims.name + "@sea"'}
    groups: {expression: 'claims.roles'}
    uid: {claim: sub}
    extra: [{key: example.com/tenant, valueExpression: claims.tenant}]
  userValidationRules:
  - expression: "!user.username.startsWith('system:')"
    message: that name is the cluster's own
`

func start(t *testing.T, text string, o Options) *Authenticator {
	t.Helper()
	c, err := decode([]byte(text), o.Disallowed)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the keys", a.Healthy)
	return a
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

func TestTokensBecomeUsers(t *testing.T) {
	i := jwttest.Start(t)
	a := start(t, file(i, rules), Options{Disallowed: []string{clusterIssuer}})
	claims := func(change ...any) map[string]any {
		m := map[string]any{"sub": "1234", "aud": "coracle", "name": "ann", "roles": []string{"crew", "cooks"}, "tenant": "sea"}
		for n := 0; n < len(change); n += 2 {
			m[change[n].(string)] = change[n+1]
		}
		return m
	}
	for name, c := range map[string]struct {
		token string
		want  *user.DefaultInfo
		err   string
	}{
		"good": {token: i.Token(t, claims()), want: &user.DefaultInfo{
			Name: "ann@sea", UID: "1234", Groups: []string{"crew", "cooks"}, Extra: map[string][]string{"example.com/tenant": {"sea"}},
		}},
		"of many audiences":   {token: i.Token(t, claims("aud", []string{"other", "coracle"})), want: &user.DefaultInfo{Name: "ann@sea", UID: "1234", Groups: []string{"crew", "cooks"}, Extra: map[string][]string{"example.com/tenant": {"sea"}}}},
		"for another client":  {token: i.Token(t, claims("aud", "other")), err: `expected audience "coracle" got ["other"]`},
		"of another tenant":   {token: i.Token(t, claims("tenant", "land")), err: "another tenant"},
		"of the cluster":      {token: i.Token(t, claims("name", "system:admin")), err: "that name is the cluster's own"},
		"past":                {token: i.Token(t, claims("exp", time.Now().Add(-time.Hour).Unix())), err: "token is expired"},
		"of another issuer":   {token: jwttest.Start(t).Token(t, claims())},
		"in another's name":   {token: jwttest.Start(t).Token(t, claims("iss", i.URL)), err: "failed to verify"},
		"no token of a kind":  {token: "abcdef.0123456789abcdef"},
		"without claims used": {token: i.Token(t, map[string]any{"sub": "1", "aud": "coracle", "tenant": "sea"}), err: "name"},
	} {
		response, ok, err := a.AuthenticateToken(t.Context(), c.token)
		check(t, name, response, ok, err, c.want, c.err)
	}
}

func check(t *testing.T, name string, response *authenticator.Response, ok bool, err error, want *user.DefaultInfo, wantErr string) {
	t.Helper()
	if (err != nil) != (wantErr != "") || err != nil && !strings.Contains(err.Error(), wantErr) {
		t.Errorf("%s: error %v, want %q", name, err, wantErr)
	}
	if ok != (want != nil) {
		t.Errorf("%s: authenticated %v", name, ok)
	} else if ok {
		if diff := cmp.Diff(user.Info(want), response.User); diff != "" {
			t.Errorf("%s: user (-want +got):\n%s", name, diff)
		}
	}
}

func TestFlags(t *testing.T) {
	i := jwttest.Start(t)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	write(t, ca, i.CA)
	flags := Flags{
		IssuerURL: i.URL, ClientID: "coracle", CAFile: ca, UsernameClaim: "sub",
		GroupsClaim: "groups", GroupsPrefix: "oidc:", RequiredClaims: map[string]string{"tenant": "sea"},
	}
	config, err := flags.Configuration([]string{clusterIssuer})
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), config, Options{SigningAlgs: []string{"ES256"}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the keys", a.Healthy)
	claims := map[string]any{"sub": "ann", "aud": "coracle", "groups": []string{"crew"}, "tenant": "sea"}
	response, ok, err := a.AuthenticateToken(t.Context(), i.Token(t, claims))
	check(t, "good", response, ok, err, &user.DefaultInfo{Name: i.URL + "#ann", Groups: []string{"oidc:crew"}}, "")
	claims["tenant"] = "land"
	response, ok, err = a.AuthenticateToken(t.Context(), i.Token(t, claims))
	check(t, "other tenant", response, ok, err, nil, "tenant")

	for claim, want := range map[string]string{"email": "", "sub": i.URL + "#"} {
		if got := (Flags{IssuerURL: i.URL, UsernameClaim: claim}).usernamePrefix(); *got != want {
			t.Errorf("prefix of names from %s: %q, want %q", claim, *got, want)
		}
	}
	if got := (Flags{UsernameClaim: "sub", UsernamePrefix: "-"}).usernamePrefix(); *got != "" {
		t.Errorf("prefix -: %q, want none", *got)
	}
}

func TestFaultyConfigurations(t *testing.T) {
	i := jwttest.Start(t)
	for name, c := range map[string]struct{ text, want string }{
		"empty":         {"", "the file is empty"},
		"unknown field": {file(i, simple) + "  colour: red\n", `unknown field "jwt[0].colour"`},
		"other kind":    {"apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\n", "expected AuthenticationConfiguration"},
		"no username":   {file(i, ""), "jwt[0].claimMappings.username: Required value"},
		"http":          {strings.Replace(file(i, simple), "https:", "http:", 1), "URL scheme must be https"},
		"the cluster's": {strings.Replace(file(i, simple), i.URL, clusterIssuer, 1), "URL must not overlap with disallowed issuers"},
		"bad rule":      {file(i, strings.Replace(rules, "claims.tenant ==", "claims.tenant =", 1)), "claimValidationRules[0].expression"},
		"conditions":    {"apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: false, conditions: [{path: /livez}]}\n", "enabled should be set to true when conditions are defined"},
	} {
		if _, err := decode([]byte(c.text), []string{clusterIssuer}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestFollow changes the file to another issuer, by way of a faulty one.
func TestFollow(t *testing.T) {
	first, second := jwttest.Start(t), jwttest.Start(t)
	path := filepath.Join(t.TempDir(), "authentication.yaml")
	write(t, path, file(first, simple))
	c, data, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the keys", a.Healthy)
	done := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	go func() { defer close(done); a.Follow(ctx, path, data) }()
	defer func() { stop(); <-done }()

	accepts := func(i *jwttest.Issuer) bool {
		_, ok, _ := a.AuthenticateToken(t.Context(), i.Token(t, map[string]any{"sub": "ann", "aud": "coracle"}))
		return ok
	}
	if !accepts(first) || accepts(second) {
		t.Fatalf("at first: first %v, second %v", accepts(first), accepts(second))
	}
	write(t, path, "nonsense")
	write(t, path, file(second, simple))
	eventually(t, "the other issuer", func() error {
		if !accepts(second) {
			return fmt.Errorf("its token is refused")
		}
		return nil
	})
	if accepts(first) {
		t.Error("the first issuer is accepted still")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
