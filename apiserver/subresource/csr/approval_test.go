package csr

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

func request(kinds ...certificatesv1.RequestConditionType) *certificatesv1.CertificateSigningRequest {
	r := &certificatesv1.CertificateSigningRequest{}
	for _, k := range kinds {
		r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: k, Status: corev1.ConditionTrue})
	}
	return r
}

func TestDecisionsAreFinal(t *testing.T) {
	const approved, denied = certificatesv1.CertificateApproved, certificatesv1.CertificateDenied
	for _, c := range []struct {
		name     string
		old, now *certificatesv1.CertificateSigningRequest
		want     string
	}{
		{"approve", request(), request(approved), ""},
		{"approve again", request(approved), request(approved), ""},
		{"take back", request(approved), request(), `may not remove a condition of type "Approved"`},
		{"both", request(approved), request(approved, denied), "mutually exclusive"},
	} {
		errs := approvalStrategy{}.ValidateUpdate(t.Context(), c.now, c.old)
		switch {
		case c.want == "" && len(errs) > 0:
			t.Errorf("%s: %v", c.name, errs)
		case c.want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, errs, c.want)
		}
	}
}

func TestApprovalWritesConditionsAlone(t *testing.T) {
	now, old := request(certificatesv1.CertificateApproved), request()
	now.Spec.Username, now.Status.Certificate = "sneaked", []byte("sneaked")
	old.Spec.Username = "alice"
	approvalStrategy{}.PrepareForUpdate(t.Context(), now, old)
	if now.Spec.Username != "alice" || now.Status.Certificate != nil || now.Status.Conditions[0].LastTransitionTime.IsZero() {
		t.Errorf("got %+v", now)
	}
}

// nothing prepares nothing.
type nothing struct{ rest.RESTCreateStrategy }

func (nothing) PrepareForCreate(context.Context, runtime.Object) {}

func TestRequestsNameTheirUser(t *testing.T) {
	r := request()
	r.Spec.Username, r.Spec.UID, r.Spec.Groups = "system:node:a", "1", []string{"system:nodes"}
	r.Spec.Extra = map[string]certificatesv1.ExtraValue{"sneaked": {"in"}}
	ctx := apirequest.WithUser(t.Context(), &user.DefaultInfo{Name: "alice", UID: "7", Groups: []string{"crew"}, Extra: map[string][]string{"a": {"b"}}})
	signedStrategy{nothing{}}.PrepareForCreate(ctx, r)
	want := certificatesv1.CertificateSigningRequestSpec{Username: "alice", UID: "7", Groups: []string{"crew"}, Extra: map[string]certificatesv1.ExtraValue{"a": {"b"}}}
	if diff := cmp.Diff(want, r.Spec); diff != "" {
		t.Errorf("the request (-want +got):\n%s", diff)
	}
}
