package certificate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// grants allows verbs on signers: "approve example.com/a".
type grants []string

func (g grants) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	for _, grant := range g {
		if grant == a.GetVerb()+" "+a.GetName() && a.GetResource() == "signers" && a.GetAPIGroup() == certificatesv1.GroupName {
			return authorizer.DecisionAllow, "", nil
		}
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func request(change ...func(*certificatesv1.CertificateSigningRequest)) *certificatesv1.CertificateSigningRequest {
	r := &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: "example.com/a"}}
	for _, f := range change {
		f(r)
	}
	return r
}

func issued(r *certificatesv1.CertificateSigningRequest) {
	r.Status.Certificate = []byte("certificate")
}

func failed(r *certificatesv1.CertificateSigningRequest) {
	r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: certificatesv1.CertificateFailed, Status: corev1.ConditionTrue})
}

func attributes(obj, old runtime.Object, resource schema.GroupResource, subresource string) admission.Attributes {
	op := admission.Create
	if old != nil {
		op = admission.Update
	}
	return admission.NewAttributesRecord(obj, old, schema.GroupVersionKind{}, "", "x", resource.WithVersion("v1"), subresource, op, nil, false, &user.DefaultInfo{Name: "alice"})
}

func TestSigners(t *testing.T) {
	bundle := func(signer, trust string) *certificatesv1beta1.ClusterTrustBundle {
		return &certificatesv1beta1.ClusterTrustBundle{Spec: certificatesv1beta1.ClusterTrustBundleSpec{SignerName: signer, TrustBundle: trust}}
	}
	approval := attributes(request(), request(), requests, "approval")
	for name, c := range map[string]struct {
		plugin string
		a      admission.Attributes
		grants grants
		want   string
	}{
		"approving":                  {ApprovalName, approval, grants{"approve example.com/a"}, ""},
		"approving all of a domain":  {ApprovalName, approval, grants{"approve example.com/*"}, ""},
		"approving another's":        {ApprovalName, approval, grants{"approve example.com/b", "sign example.com/a"}, `user not permitted to approve requests with signerName "example.com/a"`},
		"not approving":              {ApprovalName, attributes(request(), request(), requests, ""), nil, ""},
		"signing":                    {SigningName, attributes(request(issued), request(), requests, "status"), grants{"sign example.com/a"}, ""},
		"signing for another":        {SigningName, attributes(request(issued), request(), requests, "status"), grants{"approve example.com/a"}, `user not permitted to sign requests with signerName "example.com/a"`},
		"failing for another":        {SigningName, attributes(request(failed), request(), requests, "status"), nil, "not permitted to sign"},
		"a status as it was":         {SigningName, attributes(request(issued), request(issued), requests, "status"), nil, ""},
		"attesting":                  {AttestName, attributes(bundle("example.com/a", "x"), nil, bundles, ""), grants{"attest example.com/a"}, ""},
		"attesting for another":      {AttestName, attributes(bundle("example.com/a", "x"), nil, bundles, ""), nil, `user not permitted to attest for signerName "example.com/a"`},
		"a bundle of nobody":         {AttestName, attributes(bundle("", "x"), nil, bundles, ""), nil, ""},
		"a bundle as it was":         {AttestName, attributes(bundle("example.com/a", "x"), bundle("example.com/a", "x"), bundles, ""), nil, ""},
		"changing another's bundle":  {AttestName, attributes(bundle("example.com/a", "y"), bundle("example.com/a", "x"), bundles, ""), nil, "not permitted to attest"},
		"an object of another group": {AttestName, attributes(&corev1.Secret{}, nil, corev1.Resource("secrets"), ""), nil, ""},
	} {
		plugins := admission.NewPlugins()
		Register(plugins)
		made, err := plugins.InitPlugin(c.plugin, nil, withAuthorizer{c.grants})
		if err != nil {
			t.Fatal(err)
		}
		check(t, name, made.(admission.ValidationInterface).Validate(t.Context(), c.a, nil), c.want)
	}
}

// withAuthorizer initializes plugins.
type withAuthorizer struct {
	authorizer.UnconditionalAuthorizer
}

func (i withAuthorizer) Initialize(p admission.Interface) {
	p.(*signers).SetUnconditionalAuthorizer(i.UnconditionalAuthorizer)
}

func check(t *testing.T, name string, err error, want string) {
	t.Helper()
	if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", name, err, want)
	}
}

func TestSubjects(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	by := func(signer string, groups ...string) *certificatesv1.CertificateSigningRequest {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x", Organization: groups}}, key)
		if err != nil {
			t.Fatal(err)
		}
		return &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: signer, Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		}}
	}
	const client = certificatesv1.KubeAPIServerClientSignerName
	for name, c := range map[string]struct {
		request *certificatesv1.CertificateSigningRequest
		want    string
	}{
		"a user":                      {by(client, "crew"), ""},
		"a master":                    {by(client, "crew", "system:masters"), "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"},
		"a master elsewhere":          {by("example.com/a", "system:masters"), ""},
		"something else than request": {&certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: client}}, "PEM block type must be CERTIFICATE REQUEST"},
	} {
		check(t, name, newRestriction().Validate(t.Context(), attributes(c.request, nil, requests, ""), nil), c.want)
	}
}
