package csrsigning

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
)

func TestRefuse(t *testing.T) {
	const client, server = certificatesv1.UsageClientAuth, certificatesv1.UsageServerAuth
	const signature, encipherment = certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment
	node := pkix.Name{CommonName: "system:node:n", Organization: []string{"system:nodes"}}
	request := func(subject pkix.Name, change ...func(*x509.CertificateRequest)) *x509.CertificateRequest {
		r := &x509.CertificateRequest{Subject: subject}
		for _, f := range change {
			f(r)
		}
		return r
	}
	dns := func(r *x509.CertificateRequest) { r.DNSNames = []string{"n"} }
	ip := func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} }
	email := func(r *x509.CertificateRequest) { r.EmailAddresses = []string{"a@example.com"} }
	uri := func(r *x509.CertificateRequest) { r.URIs = []*url.URL{{Scheme: "https", Host: "example.com"}} }
	type usages = []certificatesv1.KeyUsage
	for name, tc := range map[string]struct {
		signer  string
		usages  usages
		request *x509.CertificateRequest
		err     string
	}{
		"a client":                     {certificatesv1.KubeAPIServerClientSignerName, usages{signature, encipherment, client}, request(pkix.Name{CommonName: "alice"}), ""},
		"a client that serves":         {certificatesv1.KubeAPIServerClientSignerName, usages{client, server}, request(pkix.Name{CommonName: "alice"}), "usages did not match"},
		"a client that is none":        {certificatesv1.KubeAPIServerClientSignerName, usages{signature}, request(pkix.Name{CommonName: "alice"}), "usages did not match"},
		"a node":                       {certificatesv1.KubeAPIServerClientKubeletSignerName, usages{signature, client}, request(node), ""},
		"a node with a name":           {certificatesv1.KubeAPIServerClientKubeletSignerName, usages{signature, client}, request(node, dns), "DNS subjectAltNames are not allowed"},
		"a node with an address":       {certificatesv1.KubeAPIServerClientKubeletSignerName, usages{signature, client}, request(node, ip), "IP subjectAltNames are not allowed"},
		"not a node":                   {certificatesv1.KubeAPIServerClientKubeletSignerName, usages{signature, client}, request(pkix.Name{CommonName: "alice", Organization: node.Organization}), "common name"},
		"a node of more groups":        {certificatesv1.KubeAPIServerClientKubeletSignerName, usages{signature, client}, request(pkix.Name{CommonName: "system:node:n", Organization: []string{"system:nodes", "system:masters"}}), "organization"},
		"a node that serves":           {certificatesv1.KubeletServingSignerName, usages{signature, server}, request(node, dns, ip), ""},
		"a node that serves nowhere":   {certificatesv1.KubeletServingSignerName, usages{signature, server}, request(node), "DNS or IP subjectAltName is required"},
		"a node that serves mail":      {certificatesv1.KubeletServingSignerName, usages{signature, server}, request(node, dns, email), "Email"},
		"a node that serves at a URI":  {certificatesv1.KubeletServingSignerName, usages{signature, server}, request(node, dns, uri), "URI"},
		"a node that serves as client": {certificatesv1.KubeletServingSignerName, usages{signature, client}, request(node, dns), "usages did not match"},
		"whoever, for legacy-unknown":  {legacyUnknown, usages{certificatesv1.UsageCertSign}, request(pkix.Name{}), ""},
	} {
		err := refuse(tc.signer, tc.usages, tc.request)
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDue(t *testing.T) {
	const signer = certificatesv1.KubeAPIServerClientSignerName
	for name, tc := range map[string]struct {
		signer, certificate string
		conditions          []certificatesv1.RequestConditionType
		want                bool
	}{
		"new":           {signer: signer},
		"approved":      {signer: signer, conditions: []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved}, want: true},
		"signed":        {signer: signer, certificate: "x", conditions: []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved}},
		"failed":        {signer: signer, conditions: []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateFailed}},
		"denied":        {signer: signer, conditions: []certificatesv1.RequestConditionType{certificatesv1.CertificateDenied}},
		"for another's": {signer: "example.com/signer", conditions: []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved}},
	} {
		r := &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: tc.signer}}
		r.Status.Certificate = []byte(tc.certificate)
		for _, c := range tc.conditions {
			r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: c, Status: corev1.ConditionTrue})
		}
		if got := due(r); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestValidity(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	long, soon := &x509.Certificate{NotAfter: now.AddDate(10, 0, 0)}, &x509.Certificate{NotAfter: now.Add(time.Hour)}
	for name, tc := range map[string]struct {
		seconds     *int32
		authority   *x509.Certificate
		from, until time.Time
	}{
		"the default":          {nil, long, now.Add(-backdate), now.Add(DefaultDuration)},
		"less":                 {new(int32(7200)), long, now.Add(-backdate), now.Add(2 * time.Hour)},
		"more":                 {new(int32(1 << 30)), long, now.Add(-backdate), now.Add(DefaultDuration)},
		"too little":           {new(int32(60)), long, now.Add(-backdate), now.Add(shortest)},
		"as its authority":     {nil, soon, now.Add(-backdate), soon.NotAfter},
		"less than its signer": {new(int32(1800)), soon, now.Add(-backdate), now.Add(30 * time.Minute)},
	} {
		if from, until := validity(now, DefaultDuration, tc.seconds, tc.authority); !from.Equal(tc.from) || !until.Equal(tc.until) {
			t.Errorf("%s: from %v until %v", name, from, until)
		}
	}
}

func TestParse(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "alice"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	if r, err := parse(encode("CERTIFICATE REQUEST", der)); err != nil || r.Subject.CommonName != "alice" {
		t.Errorf("read %v, %v", r, err)
	}
	forged := append([]byte{}, der...)
	forged[len(forged)-1] ^= 1
	for name, data := range map[string][]byte{"text": []byte("x"), "of another kind": encode("CERTIFICATE", der), "cut": encode("CERTIFICATE REQUEST", der[:40]), "forged": encode("CERTIFICATE REQUEST", forged)} {
		if _, err := parse(data); err == nil {
			t.Errorf("a request that is %s is read", name)
		}
	}
	if c, err := template(&x509.CertificateRequest{}, []certificatesv1.KeyUsage{"dance"}, time.Time{}, time.Time{}); err == nil {
		t.Errorf("an unknown usage makes %v", c)
	}
}
