package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"slices"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

const (
	// leafLife is how long a certificate lasts; one with less than renewBefore left is made anew
	// at the next start.
	leafLife    = 365 * 24 * time.Hour
	renewBefore = 90 * 24 * time.Hour
)

// authority is a certificate authority whose files are <name>.crt and <name>.key.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// leaf is a certificate to be issued: to a server where it has hosts, else to a client.
type leaf struct {
	commonName string
	groups     []string
	hosts      []string
}

// PKI names the files of a cluster's certificates and keys, all below <DataDir>/pki.
type PKI struct {
	dir string
	ca  *authority
}

// File is the path of a certificate or key.
func (p *PKI) File(name string) string { return p.dir + "/" + name }

// CAPEM is the certificate that clients verify the cluster by.
func (p *PKI) CAPEM() []byte { return encodeCert(p.ca.cert) }

// ensurePKI makes what is missing or about to expire, and leaves the rest as it is.
func ensurePKI(c *Config, now time.Time) (*PKI, error) {
	p := &PKI{dir: c.Path("pki")}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if p.ca, err = p.ensureAuthority("ca", "coracle-ca"); err != nil {
		return nil, err
	}
	front, err := p.ensureAuthority("front-proxy-ca", "coracle-front-proxy-ca")
	if err != nil {
		return nil, err
	}
	if err := p.ensureKey("sa"); err != nil {
		return nil, err
	}
	service := "kubernetes.default.svc." + c.ClusterDomain
	leaves := []struct {
		file string
		ca   *authority
		leaf leaf
	}{
		{"apiserver", p.ca, leaf{commonName: "kube-apiserver", hosts: []string{
			"localhost", c.NodeName, "kubernetes", "kubernetes.default", "kubernetes.default.svc", service,
			"127.0.0.1", "::1", c.NodeIP.String(), c.Gateway().String(), c.APIServiceIP().String()}}},
		{"apiserver-kubelet-client", p.ca, leaf{commonName: "kube-apiserver-kubelet-client", groups: []string{"kubeadm:cluster-admins"}}},
		{"front-proxy-client", front, leaf{commonName: "front-proxy-client"}},
		{"agent", p.ca, leaf{commonName: "system:node:" + c.NodeName, groups: []string{"system:nodes"},
			hosts: []string{"localhost", c.NodeName, "127.0.0.1", c.NodeIP.String()}}},
	}
	for _, l := range leaves {
		if err := p.ensureLeaf(l.file, l.ca, l.leaf, now); err != nil {
			return nil, fmt.Errorf("making certificate %s: %w", l.file, err)
		}
	}
	return p, nil
}

func (p *PKI) ensureKey(name string) error {
	path := p.File(name + ".key")
	if _, err := keyutil.PrivateKeyFromFile(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, pem, err := newKey()
	if err != nil {
		return err
	}
	return writeFile(path, pem, 0o600)
}

func (p *PKI) ensureAuthority(name, commonName string) (*authority, error) {
	a, err := p.loadAuthority(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return a, err
	}
	key, pem, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := certutil.NewSelfSignedCACert(certutil.Config{CommonName: commonName}, key)
	if err != nil {
		return nil, err
	}
	// The key goes first: a certificate on disk is then always one whose key is there too.
	if err := writeFile(p.File(name+".key"), pem, 0o600); err != nil {
		return nil, err
	}
	return &authority{cert, key}, writeFile(p.File(name+".crt"), encodeCert(cert), 0o644)
}

func (p *PKI) loadAuthority(name string) (*authority, error) {
	certs, err := certutil.CertsFromFile(p.File(name + ".crt"))
	if err != nil {
		return nil, err
	}
	key, err := keyutil.PrivateKeyFromFile(p.File(name + ".key"))
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s.key: %T can't sign", name, key)
	}
	return &authority{certs[0], signer}, nil
}

func (p *PKI) ensureLeaf(name string, ca *authority, l leaf, now time.Time) error {
	if certs, err := certutil.CertsFromFile(p.File(name + ".crt")); err == nil && l.matches(certs[0], ca, now) {
		return nil
	}
	cert, key, err := ca.issue(l, now)
	if err != nil {
		return err
	}
	// After a crash between the two, the certificate does not match its key: the server would not
	// start. Removing the certificate first makes the next start issue both anew.
	if err := os.Remove(p.File(name + ".crt")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeFile(p.File(name+".key"), key, 0o600); err != nil {
		return err
	}
	return writeFile(p.File(name+".crt"), cert, 0o644)
}

// matches tells whether an issued certificate still serves.
func (l leaf) matches(cert *x509.Certificate, ca *authority, now time.Time) bool {
	if cert.CheckSignatureFrom(ca.cert) != nil || now.Add(renewBefore).After(cert.NotAfter) {
		return false
	}
	if cert.Subject.CommonName != l.commonName || !slices.Equal(cert.Subject.Organization, l.groups) {
		return false
	}
	return !slices.ContainsFunc(l.hosts, func(h string) bool { return cert.VerifyHostname(h) != nil })
}

// issue returns a certificate and its key in PEM.
func (a *authority) issue(l leaf, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: l.commonName, Organization: l.groups},
		NotBefore:    now.Add(-5 * time.Minute), // clocks of clients differ
		NotAfter:     now.Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(l.hosts) > 0 {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, h := range l.hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return encodeCert(cert), keyPEM, err
}

func newKey() (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	pem, err := keyutil.MarshalPrivateKeyToPEM(key)
	return key, pem, err
}

func encodeCert(cert *x509.Certificate) []byte {
	pem, err := certutil.EncodeCertificates(cert)
	if err != nil { // a certificate that was parsed has an encoding
		panic(err)
	}
	return pem
}
