package csrapproving

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
)

func TestRights(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request := func(name, group string, hosts ...string) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name, Organization: []string{group}}, DNSNames: hosts}, key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
	const signer = certificatesv1.KubeAPIServerClientKubeletSignerName
	client := []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}
	for name, tc := range map[string]struct {
		spec    certificatesv1.CertificateSigningRequestSpec
		decided bool
		want    string
	}{
		"a node's own":           {spec: certificatesv1.CertificateSigningRequestSpec{SignerName: signer, Username: "system:node:n", Usages: client, Request: request("system:node:n", "system:nodes")}, want: "selfnodeclient nodeclient"},
		"a new node's":           {spec: certificatesv1.CertificateSigningRequestSpec{SignerName: signer, Username: "system:bootstrap:x", Usages: client, Request: request("system:node:n", "system:nodes")}, want: "nodeclient"},
		"decided on":             {spec: certificatesv1.CertificateSigningRequestSpec{SignerName: signer, Usages: client, Request: request("system:node:n", "system:nodes")}, decided: true},
		"a person's":             {spec: certificatesv1.CertificateSigningRequestSpec{SignerName: signer, Usages: client, Request: request("alice", "system:nodes")}},
		"of another group":       {spec: certificatesv1.CertificateSigningRequestSpec{SignerName: signer, Usages: client, Request: request("system:node:n", "system:masters")}},
		"with a host name":       {spec: certificatesv1.CertificateSigningRequestSpec{SignerName: signer, Usages: client, Request: request("system:node:n", "system:nodes", "n")}},
		"for serving":            {spec: certificatesv1.CertificateSigningRequestSpec{SignerName: certificatesv1.KubeletServingSignerName, Usages: client, Request: request("system:node:n", "system:nodes")}},
		"of more usages":         {spec: certificatesv1.CertificateSigningRequestSpec{SignerName: signer, Usages: append(client, certificatesv1.UsageServerAuth), Request: request("system:node:n", "system:nodes")}},
		"that cannot be read":    {spec: certificatesv1.CertificateSigningRequestSpec{SignerName: signer, Usages: client, Request: []byte("x")}},
		"that is no request":     {spec: certificatesv1.CertificateSigningRequestSpec{SignerName: signer, Usages: client, Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"})}},
		"without the right uses": {spec: certificatesv1.CertificateSigningRequestSpec{SignerName: signer, Usages: client[:1], Request: request("system:node:n", "system:nodes")}},
	} {
		o := &certificatesv1.CertificateSigningRequest{Spec: tc.spec}
		if tc.decided {
			o.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied}}
		}
		var got []string
		for _, r := range rights(o) {
			got = append(got, r.subresource)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("a certificate %s: %v", name, got)
		}
	}
}
