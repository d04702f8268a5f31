package serviceaccount

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/authenticator"
)

// withSecret adds a secret to objects.
type withSecret struct {
	objects
	secret *corev1.Secret
}

func (o withSecret) Secret(_ context.Context, _, name string, _ types.UID) (*corev1.Secret, error) {
	if o.secret == nil {
		return nil, apierrors.NewNotFound(corev1.Resource("secrets"), name)
	}
	return o.secret, nil
}

func TestTokensOfTheOlderKind(t *testing.T) {
	issuer, err := NewIssuer(legacyIssuer, keys(t)["RS256"])
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{
		"iss": legacyIssuer, "sub": "system:serviceaccount:ns:robot", "kubernetes.io/serviceaccount/namespace": "ns",
		"kubernetes.io/serviceaccount/secret.name": "robot-token", "kubernetes.io/serviceaccount/service-account.name": "robot",
		"kubernetes.io/serviceaccount/service-account.uid": "a1",
	}
	sign := func(change ...string) string {
		c := maps.Clone(claims)
		for i := 0; i < len(change); i += 2 {
			c[change[i]] = change[i+1]
		}
		token, err := jwt.Signed(issuer.signer).Claims(c).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	good := sign()
	there := objects{account: &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "robot", UID: "a1"}}}
	anew := objects{account: &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "robot", UID: "a2"}}}
	secret := func(token string, labels map[string]string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Data: map[string][]byte{"token": []byte(token)}}
	}
	for name, c := range map[string]struct {
		token    string
		objects  Objects
		audience string
		want     string
	}{
		"good":             {good, withSecret{there, secret(good, nil)}, "api", ""},
		"without look-ups": {good, nil, "api", ""},
		"another audience": {good, withSecret{there, secret(good, nil)}, "db", "is invalid for the target audiences"},
		"secret gone":      {good, withSecret{there, nil}, "api", "token has been invalidated"},
		"secret made anew": {good, withSecret{there, secret("another", nil)}, "api", "token does not match server's copy"},
		"marked":           {good, withSecret{there, secret(good, map[string]string{invalidLabel: "2026-01-01"})}, "api", "has been marked invalid since 2026-01-01"},
		"account gone":     {good, withSecret{objects{}, secret(good, nil)}, "api", "service account ns/robot has been deleted"},
		"account anew":     {good, withSecret{anew, secret(good, nil)}, "api", "service account UID (a2) does not match claim (a1)"},
		"of two":           {sign("sub", "system:serviceaccount:ns:other"), nil, "api", "names two subjects"},
		"of nobody":        {sign("kubernetes.io/serviceaccount/secret.name", ""), nil, "api", "lacks a claim"},
	} {
		v := NewVerifier(VerifierOptions{Issuers: []string{issuerName}, Keys: []Key{issuer.Key()}, Audiences: authenticator.Audiences{"api"}, Objects: c.objects})
		ctx := authenticator.WithAudiences(t.Context(), authenticator.Audiences{c.audience})
		response, ok, err := v.AuthenticateToken(ctx, c.token)
		switch {
		case c.want != "" && (err == nil || ok || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, %v, want %q", name, ok, err, c.want)
		case c.want == "" && (err != nil || !ok || response.User.GetName() != "system:serviceaccount:ns:robot" || response.User.GetUID() != "a1"):
			t.Errorf("%s: %v, %v, %v", name, response, ok, err)
		}
	}
}
