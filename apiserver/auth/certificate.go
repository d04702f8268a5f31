package auth

import (
	"crypto/sha256"
	"crypto/x509"
	"net/http"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/utils/lru"
)

const (
	// certificateTTL is how long a certificate that was verified is not verified again.
	certificateTTL = 10 * time.Second
	// maxCertificates bounds how many are remembered.
	maxCertificates = 4096
)

// certificates remembers which client certificates were verified: a connection presents the same ones
// with each request, and verifying them costs more than most requests do. Refusals are not remembered.
// Kubernetes verifies each time.
//
// A certificate is forgotten when the authorities change, when it expires, and after certificateTTL.
type certificates struct {
	verify  authenticator.Request
	options func() (x509.VerifyOptions, bool)
	now     func() time.Time
	known   *lru.Cache
}

type presented struct {
	chain [sha256.Size]byte
	roots *x509.CertPool
}

type verified struct {
	response authenticator.Response
	until    time.Time
}

func newCertificates(verify authenticator.Request, options func() (x509.VerifyOptions, bool)) *certificates {
	return &certificates{verify, options, time.Now, lru.New(maxCertificates)}
}

// AuthenticateRequest implements authenticator.Request.
func (c *certificates) AuthenticateRequest(req *http.Request) (*authenticator.Response, bool, error) {
	if req.TLS == nil || len(req.TLS.PeerCertificates) == 0 {
		return nil, false, nil
	}
	options, ok := c.options()
	if !ok {
		return nil, false, nil
	}
	key := presented{chain: digest(req.TLS.PeerCertificates), roots: options.Roots}
	now := c.now()
	if value, found := c.known.Get(key); found {
		if v := value.(verified); now.Before(v.until) {
			response := v.response // authenticators around this one change theirs
			return &response, true, nil
		}
	}
	response, ok, err := c.verify.AuthenticateRequest(req)
	if err != nil || !ok {
		return response, ok, err
	}
	until := now.Add(certificateTTL)
	if expiry := req.TLS.PeerCertificates[0].NotAfter; expiry.Before(until) {
		until = expiry
	}
	c.known.Add(key, verified{*response, until})
	return response, true, nil
}

func digest(chain []*x509.Certificate) (sum [sha256.Size]byte) {
	hash := sha256.New()
	for _, certificate := range chain {
		hash.Write(certificate.Raw)
	}
	hash.Sum(sum[:0])
	return sum
}
