package controllers_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"

	"coracle.dev/coracle/controllers"
)

// authority writes a certificate authority to files.
func authority(t *testing.T) (certFile, keyFile string, cert *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = certutil.NewSelfSignedCACert(certutil.Config{CommonName: "ca"}, key); err != nil {
		t.Fatal(err)
	}
	data, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "ca.crt"), filepath.Join(t.TempDir(), "ca.key")
	err = errors.Join(keyutil.WriteKey(keyFile, data),
		certutil.WriteCert(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})))
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile, cert
}

func (e *env) certificateRequest(name, signer string, subject pkix.Name, usages ...certificatesv1.KeyUsage) *certificatesv1.CertificateSigningRequest {
	e.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		e.t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
	if err != nil {
		e.t.Fatal(err)
	}
	r := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: certificatesv1.CertificateSigningRequestSpec{
		SignerName: signer, Usages: usages, ExpirationSeconds: new(int32(3600)),
		Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
	}}
	e.create(r)
	return r
}

func (e *env) awaitRequest(name, what string, check func(*certificatesv1.CertificateSigningRequest) bool) *certificatesv1.CertificateSigningRequest {
	e.t.Helper()
	r := &certificatesv1.CertificateSigningRequest{}
	e.eventually("request "+name+" is "+what, func() error {
		e.get(name, r)
		if !check(r) {
			return fmt.Errorf("its status is %+v", r.Status)
		}
		return nil
	}, &certificatesv1.CertificateSigningRequestList{})
	return r
}

func TestCertificatesAreSigned(t *testing.T) {
	e := start(t, "none")
	certFile, keyFile, ca := authority(t)
	e.runWith(controllers.Options{ClusterSigningCertFile: certFile, ClusterSigningKeyFile: keyFile, Controllers: []string{
		"certificatesigningrequest-approving-controller", "certificatesigningrequest-signing-controller", "certificatesigningrequest-cleaner-controller"}})
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	signed := func(r *certificatesv1.CertificateSigningRequest) bool { return len(r.Status.Certificate) > 0 }
	verify := func(r *certificatesv1.CertificateSigningRequest, subject pkix.Name) {
		t.Helper()
		certs, err := certutil.ParseCertsPEM(r.Status.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := certs[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			t.Error(err)
		}
		if left := time.Until(certs[0].NotAfter); certs[0].Subject.String() != subject.String() || left > time.Hour || left < 50*time.Minute || certs[0].IsCA {
			t.Errorf("the certificate is of %s, until %s", certs[0].Subject, certs[0].NotAfter)
		}
	}
	client := []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}
	node := pkix.Name{CommonName: "system:node:n", Organization: []string{"system:nodes"}}
	e.certificateRequest("node", certificatesv1.KubeAPIServerClientKubeletSignerName, node, client...)
	verify(e.awaitRequest("node", "signed", signed), node)

	alice := pkix.Name{CommonName: "alice"}
	approve := func(r *certificatesv1.CertificateSigningRequest) {
		t.Helper()
		r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test"})
		if err := e.SubResource("approval").Update(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	r := e.certificateRequest("alice", certificatesv1.KubeAPIServerClientSignerName, alice, client...)
	if len(r.Status.Certificate) > 0 {
		t.Error("signed without approval")
	}
	approve(r)
	verify(e.awaitRequest("alice", "signed", signed), alice)
	approve(e.certificateRequest("serving", certificatesv1.KubeletServingSignerName, node, certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth))
	e.awaitRequest("serving", "refused", func(r *certificatesv1.CertificateSigningRequest) bool {
		for _, c := range r.Status.Conditions {
			if c.Type == certificatesv1.CertificateFailed && c.Reason == "SignerValidationFailure" && c.Message == "DNS or IP subjectAltName is required" {
				return len(r.Status.Certificate) == 0
			}
		}
		return false
	})
}

func TestTokens(t *testing.T) {
	e := start(t, "serviceaccount-token-controller", "token-cleaner-controller", "bootstrap-signer-controller")
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "robot"}}
	e.create(account)
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "robot", Annotations: map[string]string{corev1.ServiceAccountNameKey: "robot"}}, Type: corev1.SecretTypeServiceAccountToken}
	e.create(s)
	e.eventually("the secret is filled", func() error {
		e.get("robot", s)
		if len(s.Data["token"]) == 0 || string(s.Data["namespace"]) != e.ns || s.Annotations[corev1.ServiceAccountUIDKey] != string(account.UID) {
			return fmt.Errorf("it has %d keys, annotations %v", len(s.Data), s.Annotations)
		}
		return nil
	}, &corev1.SecretList{})
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: string(s.Data["token"])}}
	e.create(review)
	if !review.Status.Authenticated || review.Status.User.Username != "system:serviceaccount:test:robot" {
		t.Errorf("the token is of %+v", review.Status)
	}
	e.delete(account)
	e.awaitGone(s, &corev1.SecretList{})

	system, public := *e, *e
	system.ns, public.ns = metav1.NamespaceSystem, metav1.NamespacePublic
	token := func(id string, expires time.Duration) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: system.ns, Name: "bootstrap-token-" + id}, Type: corev1.SecretTypeBootstrapToken, StringData: map[string]string{
			"token-id": id, "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true", "expiration": time.Now().Add(expires).UTC().Format(time.RFC3339)}}
		e.create(s)
		return s
	}
	info := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: public.ns, Name: "cluster-info"}, Data: map[string]string{"kubeconfig": "x"}}
	e.create(info)
	lasting := token("aaaaaa", time.Hour)
	brief := token("bbbbbb", 2*time.Second)
	signatures := func(want ...string) {
		t.Helper()
		public.eventually("it is signed", func() error {
			public.get("cluster-info", info)
			for _, id := range want {
				if info.Data["jws-kubeconfig-"+id] == "" {
					return fmt.Errorf("%s has not signed", id)
				}
			}
			return expect("number of keys", len(info.Data), len(want)+1)
		}, &corev1.ConfigMapList{})
	}
	system.awaitGone(brief, &corev1.SecretList{})
	signatures("aaaaaa")
	e.delete(lasting)
	signatures()
}

func TestLoadBalancers(t *testing.T) {
	e := start(t, "none")
	e.runWith(controllers.Options{LoadBalancerPools: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/30")}, Controllers: []string{"service-lb-controller"}})
	service := func(name string, change func(*corev1.ServiceSpec)) *corev1.Service {
		t.Helper()
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: name}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}}}
		if change != nil {
			change(&s.Spec)
		}
		e.create(s)
		return s
	}
	await := func(name, ip string) *corev1.Service {
		t.Helper()
		s := &corev1.Service{}
		e.eventually("service "+name+" has address "+ip, func() error {
			e.get(name, s)
			got := ""
			for _, in := range s.Status.LoadBalancer.Ingress {
				got += in.IP
			}
			return expect("address", got, ip)
		}, &corev1.ServiceList{})
		return s
	}
	first := service("first", nil)
	await("first", "192.0.2.1")
	service("second", func(s *corev1.ServiceSpec) { s.LoadBalancerIP = "192.0.2.2" })
	await("second", "192.0.2.2")
	service("third", nil)
	foreign := service("foreign", func(s *corev1.ServiceSpec) { s.LoadBalancerClass = new("example.com/cloud") })
	e.delete(first)
	e.awaitGone(first, &corev1.ServiceList{})
	await("third", "192.0.2.1")
	second := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "second"}}
	e.patch(second, `{"spec":{"type":"ClusterIP","loadBalancerIP":null}}`)
	s := await("second", "")
	e.eventually("the service is let go", func() error {
		e.get("second", s)
		return expect("number of finalizers", len(s.Finalizers), 0)
	}, &corev1.ServiceList{})
	service("fourth", nil)
	await("fourth", "192.0.2.2")
	if e.get("foreign", foreign); len(foreign.Status.LoadBalancer.Ingress) > 0 || len(foreign.Finalizers) > 0 {
		t.Errorf("another's service is %+v", foreign)
	}
}
