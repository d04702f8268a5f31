package auth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

func TestCertificatesAreVerifiedAgainWhenTheyMust(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now, asked := begin, 0
	roots := x509.NewCertPool()
	refused := errors.New("refused")
	var refuse error
	c := newCertificates(authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
		asked++
		return &authenticator.Response{User: &user.DefaultInfo{Name: "someone"}}, refuse == nil, refuse
	}), func() (x509.VerifyOptions, bool) { return x509.VerifyOptions{Roots: roots}, true })
	c.now = func() time.Time { return now }
	request := func(raw string, expiry time.Time) *http.Request {
		return &http.Request{TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte(raw), NotAfter: expiry}}}}
	}
	long, short := request("long", begin.Add(time.Hour)), request("short", begin.Add(time.Second))
	for _, step := range []struct {
		what  string
		do    func()
		req   *http.Request
		asked int
	}{
		{"the first time", nil, long, 1},
		{"the second time", nil, long, 1},
		{"another certificate", nil, short, 2},
		{"when it is about to expire", func() { now = begin.Add(999 * time.Millisecond) }, short, 2},
		{"when it has expired", func() { now = begin.Add(time.Second) }, short, 3},
		{"after a while", func() { now = begin.Add(certificateTTL) }, long, 4},
		{"when the authorities have changed", func() { roots = x509.NewCertPool() }, long, 5},
	} {
		if step.do != nil {
			step.do()
		}
		response, ok, err := c.AuthenticateRequest(step.req)
		if err != nil || !ok || response.User.GetName() != "someone" {
			t.Fatalf("%s: %v, %v, %v", step.what, response, ok, err)
		}
		response.User, response.Audiences = nil, authenticator.Audiences{"changed by the caller"}
		if asked != step.asked {
			t.Errorf("%s: verified %d times, want %d", step.what, asked, step.asked)
		}
	}
	refuse = refused
	bad := request("bad", begin.Add(time.Hour))
	for range 2 {
		if _, ok, err := c.AuthenticateRequest(bad); ok || !errors.Is(err, refused) {
			t.Errorf("a refused certificate: %v, %v", ok, err)
		}
	}
	if asked != 7 {
		t.Errorf("refusals were remembered: verified %d times, want 7", asked)
	}
	if _, ok, err := c.AuthenticateRequest(&http.Request{}); ok || err != nil {
		t.Errorf("without a certificate: %v, %v", ok, err)
	}
}
