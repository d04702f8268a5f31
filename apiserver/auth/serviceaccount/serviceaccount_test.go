package serviceaccount

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/authenticator"
)

const issuerName = "https://issuer.example.com"

// objects holds one account and one pod.
type objects struct {
	account *corev1.ServiceAccount
	pod     *corev1.Pod
}

func (o objects) ServiceAccount(context.Context, string, string, types.UID) (*corev1.ServiceAccount, error) {
	if o.account == nil {
		return nil, apierrors.NewNotFound(corev1.Resource("serviceaccounts"), "robot")
	}
	return o.account, nil
}

func (o objects) Pod(context.Context, string, string, types.UID) (*corev1.Pod, error) {
	if o.pod == nil {
		return nil, apierrors.NewNotFound(corev1.Resource("pods"), "p")
	}
	return o.pod, nil
}

func (o objects) Secret(context.Context, string, string, types.UID) (*corev1.Secret, error) {
	return nil, apierrors.NewNotFound(corev1.Resource("secrets"), "")
}

func (o objects) Node(context.Context, string, types.UID) (*corev1.Node, error) {
	return nil, apierrors.NewNotFound(corev1.Resource("nodes"), "")
}

func keys(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"ES256": ec, "RS256": r}
}

func TestVerify(t *testing.T) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "robot", UID: "a1"}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "p1"}}
	now := time.Now()
	dying := func(ago time.Duration) *corev1.Pod {
		p, at := pod.DeepCopy(), metav1.NewTime(now.Add(-ago))
		p.DeletionTimestamp = &at
		return p
	}
	grant := Grant{Account: account, Pod: &Reference{Name: "p", UID: "p1"}, Node: &Reference{Name: "n"}, Audiences: []string{"api", "vault"}, Lifetime: time.Hour}
	for algorithm, key := range keys(t) {
		issuer, err := NewIssuer(issuerName, key)
		if err != nil {
			t.Fatal(err)
		}
		issuer.now = func() time.Time { return now }
		token, _, err := issuer.Issue(grant)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			objects  objects
			at       time.Duration
			audience string
			want     string
		}{
			"good":               {objects{account, pod}, 0, "api", ""},
			"another audience":   {objects{account, pod}, 0, "db", "is invalid for the target audiences"},
			"too late":           {objects{account, pod}, 2 * time.Hour, "api", "service account token has expired"},
			"too early":          {objects{account, pod}, -2 * time.Hour, "api", "service account token is not valid yet"},
			"account gone":       {objects{nil, pod}, 0, "api", "service account ns/robot has been deleted"},
			"account made anew":  {objects{&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{UID: "a2"}}, pod}, 0, "api", "service account UID (a2) does not match claim (a1)"},
			"pod gone":           {objects{account, nil}, 0, "api", "pod ns/p has been deleted"},
			"pod ending":         {objects{account, dying(time.Second)}, 0, "api", ""},
			"pod should be gone": {objects{account, dying(time.Hour)}, 0, "api", "pod ns/p has been deleted"},
		} {
			v := NewVerifier(VerifierOptions{Issuers: []string{issuerName}, Keys: []Key{issuer.Key()}, Audiences: authenticator.Audiences{c.audience}, Objects: c.objects})
			v.now = func() time.Time { return now.Add(c.at) }
			response, ok, err := v.AuthenticateToken(t.Context(), token)
			switch {
			case c.want != "" && (err == nil || ok || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s %s: %v, %v, want %q", algorithm, name, ok, err, c.want)
			case c.want == "" && (err != nil || !ok || response.User.GetName() != "system:serviceaccount:ns:robot"):
				t.Errorf("%s %s: %v, %v, %v", algorithm, name, response, ok, err)
			}
		}
	}
}

func TestVerifyLeavesOtherTokensAlone(t *testing.T) {
	ks := keys(t)
	issuer, err := NewIssuer(issuerName, ks["ES256"])
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := issuer.Issue(Grant{Account: &corev1.ServiceAccount{}, Audiences: []string{"api"}, Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(VerifierOptions{Issuers: []string{"https://other.example.com"}, Keys: []Key{issuer.Key()}})
	for _, text := range []string{token, "", "x", "a.b.c", "abcdef.0123456789abcdef"} {
		if _, ok, err := v.AuthenticateToken(t.Context(), text); ok || err != nil {
			t.Errorf("%q: %v, %v, want neither a user nor an error", text, ok, err)
		}
	}
	// A token of our issuer that none of our keys signed is refused.
	other, err := NewKey(ks["RS256"].Public())
	if err != nil {
		t.Fatal(err)
	}
	v = NewVerifier(VerifierOptions{Issuers: []string{issuerName}, Keys: []Key{other}, Audiences: authenticator.Audiences{"api"}})
	if _, ok, err := v.AuthenticateToken(t.Context(), token); ok || err == nil {
		t.Errorf("signed by an unknown key: %v, %v", ok, err)
	}
}
