package simulate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// Authority is the certificate authority of a cluster, in PEM. It signs the serving certificates of the
// nodes' API, and clients of that API prove who they are by its certificates.
type Authority struct {
	CertPEM, KeyPEM []byte
}

const certificateLife = 365 * 24 * time.Hour

// NewAuthority makes an authority for a cluster that has none.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the authority's key: %w", err)
	}
	cert, err := certutil.NewSelfSignedCACert(certutil.Config{CommonName: "simulated"}, key)
	if err != nil {
		return nil, fmt.Errorf("making the authority's certificate: %w", err)
	}
	certPEM, err := certutil.EncodeCertificates(cert)
	if err != nil {
		return nil, err
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	return &Authority{certPEM, keyPEM}, err
}

// Client makes a client's certificate and its key, in PEM.
func (a *Authority) Client(name string, groups ...string) (certPEM, keyPEM []byte, err error) {
	ca, signer, err := a.parse()
	if err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := sign(ca, signer, key, &x509.Certificate{
		Subject: pkix.Name{CommonName: name, Organization: groups}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err = keyutil.MarshalPrivateKeyToPEM(key)
	return pem.EncodeToMemory(&pem.Block{Type: certutil.CertificateBlockType, Bytes: der}), keyPEM, err
}

func (a *Authority) parse() (*x509.Certificate, crypto.Signer, error) {
	certs, err := certutil.ParseCertsPEM(a.CertPEM)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	key, err := keyutil.ParsePrivateKeyPEM(a.KeyPEM)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the authority's key: %w", err)
	}
	signer, is := key.(crypto.Signer)
	if !is {
		return nil, nil, fmt.Errorf("reading the authority's key: %T can't sign", key)
	}
	return certs[0], signer, nil
}

// issuer returns a function that makes and keeps the certificate of an address.
func (a *Authority) issuer() (func(netip.Addr) (*tls.Certificate, error), error) {
	ca, signer, err := a.parse()
	if err != nil {
		return nil, err
	}
	// One key serves all nodes: they are one process.
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the nodes' key: %w", err)
	}
	var mu sync.Mutex // of issued
	issued := map[netip.Addr]*tls.Certificate{}
	return func(ip netip.Addr) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		if c := issued[ip]; c != nil {
			return c, nil
		}
		if !loopback.Contains(ip) {
			return nil, fmt.Errorf("%s is no address of a simulated node", ip)
		}
		der, err := sign(ca, signer, own, &x509.Certificate{
			Subject:     pkix.Name{CommonName: "system:node:" + ip.String(), Organization: []string{"system:nodes"}},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{ip.AsSlice()},
		})
		if err != nil {
			return nil, fmt.Errorf("making the certificate of %s: %w", ip, err)
		}
		issued[ip] = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: own}
		return issued[ip], nil
	}, nil
}

// sign fills in what all certificates have, and signs.
func sign(ca *x509.Certificate, signer crypto.Signer, key *ecdsa.PrivateKey, template *x509.Certificate) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template.SerialNumber, template.KeyUsage = serial, x509.KeyUsageDigitalSignature
	template.NotBefore, template.NotAfter = now.Add(-5*time.Minute), now.Add(certificateLife) // clocks differ
	return x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, signer)
}
