package inprocess

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func TestAccounts(t *testing.T) {
	e := cluster(t)
	parallel(t, []subtest{
		{"lifecycle of a ServiceAccount", e.accountLifecycle},
		{"update a ServiceAccount", e.accountUpdate},
		{"create and review token", e.accountToken},
		{"RootCA ConfigMap", e.rootCA},
		{"SubjectReview", e.subjectReview},
		{"CertificateSigningRequest", e.signingRequests},
	})
}

func (e *env) accountLifecycle(t *testing.T) {
	ns := e.namespace(t)
	api, selected := e.CoreV1().ServiceAccounts(ns), metav1.ListOptions{LabelSelector: "static=yes"}
	w := must(api.Watch(t.Context(), selected))(t)
	defer w.Stop()
	must(api.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"static": "yes"}}}, metav1.CreateOptions{}))(t)
	expectEvent(t, w, watch.Added, "a")
	patched := must(api.Patch(t.Context(), "a", types.StrategicMergePatchType, []byte(`{"automountServiceAccountToken":false}`), metav1.PatchOptions{}))(t)
	if patched.AutomountServiceAccountToken == nil || *patched.AutomountServiceAccountToken {
		t.Errorf("patched: %v", patched.AutomountServiceAccountToken)
	}
	found := false
	for _, a := range must(e.CoreV1().ServiceAccounts("").List(t.Context(), selected))(t).Items {
		found = found || a.Name == "a" && a.Namespace == ns && a.AutomountServiceAccountToken != nil && !*a.AutomountServiceAccountToken
	}
	if !found {
		t.Error("the list of all namespaces has not the patched account")
	}
	must(0, api.DeleteCollection(t.Context(), metav1.DeleteOptions{}, selected))(t)
	expectEvent(t, w, watch.Deleted, "a")
}

func (e *env) accountUpdate(t *testing.T) {
	api := e.CoreV1().ServiceAccounts(e.namespace(t))
	a := must(api.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{}))(t)
	a.AutomountServiceAccountToken = new(true)
	must(api.Update(t.Context(), a, metav1.UpdateOptions{}))(t)
	if a = must(api.Get(t.Context(), "a", metav1.GetOptions{}))(t); a.AutomountServiceAccountToken == nil || !*a.AutomountServiceAccountToken {
		t.Errorf("updated: %v", a.AutomountServiceAccountToken)
	}
}

func (e *env) accountToken(t *testing.T) {
	ns := e.namespace(t)
	api := e.CoreV1().ServiceAccounts(ns)
	a := must(api.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{}))(t)
	request := must(api.CreateToken(t.Context(), "a", &authenticationv1.TokenRequest{}, metav1.CreateOptions{}))(t)
	if request.Status.Token == "" {
		t.Fatal("the token is empty")
	}
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: request.Status.Token}}
	review = must(e.AuthenticationV1().TokenReviews().Create(t.Context(), review, metav1.CreateOptions{}))(t)
	user := review.Status.User
	if !review.Status.Authenticated || review.Status.Error != "" || user.Username != "system:serviceaccount:"+ns+":a" || user.UID != string(a.UID) {
		t.Errorf("the review says %+v", review.Status)
	}
}

func (e *env) rootCA(t *testing.T) {
	ns := e.settled(t)
	api := e.CoreV1().ConfigMaps(ns)
	const name = "kube-root-ca.crt"
	original := must(api.Get(t.Context(), name, metav1.GetOptions{}))(t)
	if original.Data["ca.crt"] == "" {
		t.Errorf("the data is %v", original.Data)
	}
	must(0, api.Delete(t.Context(), name, metav1.DeleteOptions{}))(t)
	restored := func(what string) {
		t.Helper()
		eventually(t, "it is there again when it was "+what, func(ctx context.Context) error {
			cm, err := api.Get(ctx, name, metav1.GetOptions{})
			if err == nil && (len(cm.Data) != 1 || cm.Data["ca.crt"] != original.Data["ca.crt"]) {
				err = fmt.Errorf("the data is %v", cm.Data)
			}
			return err
		})
	}
	restored("deleted")
	changed := must(api.Get(t.Context(), name, metav1.GetOptions{}))(t)
	changed.Data = map[string]string{"ca.crt": ""}
	must(api.Update(t.Context(), changed, metav1.UpdateOptions{}))(t)
	restored("changed")
}

// subjectReview compares what reviews say of a service account with what it may do.
func (e *env) subjectReview(t *testing.T) {
	ns := e.namespace(t)
	must(e.CoreV1().ServiceAccounts(ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{}))(t)
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}}}}
	must(e.RbacV1().Roles(ns).Create(t.Context(), role, metav1.CreateOptions{}))(t)
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "b"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "r"}}
	binding.Subjects = []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "a"}}
	must(e.RbacV1().RoleBindings(ns).Create(t.Context(), binding, metav1.CreateOptions{}))(t)
	user, groups := "system:serviceaccount:"+ns+":a", []string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:" + ns}
	as := rest.CopyConfig(e.cfg)
	as.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	impersonated := must(kubernetes.NewForConfig(as))(t)
	review := func(ctx context.Context, resource string) (cluster, local bool) {
		t.Helper()
		spec := authorizationv1.SubjectAccessReviewSpec{User: user, Groups: groups, ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: ns, Verb: "list", Resource: resource, Version: "v1"}}
		sar := must(e.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{}))(t)
		l := &authorizationv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: ns}, Spec: spec}
		l = must(e.AuthorizationV1().LocalSubjectAccessReviews(ns).Create(ctx, l, metav1.CreateOptions{}))(t)
		return sar.Status.Allowed, l.Status.Allowed
	}
	eventually(t, "the role applies", func(ctx context.Context) error {
		if sar, local := review(ctx, "configmaps"); !sar || !local {
			return fmt.Errorf("the reviews say %v and %v", sar, local)
		}
		return nil
	})
	must(impersonated.CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{}))(t)
	if sar, local := review(t.Context(), "secrets"); sar || local {
		t.Errorf("of secrets the reviews say %v and %v", sar, local)
	}
	if _, err := impersonated.CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("listing secrets: %v", err)
	}
}

func signingRequest(t *testing.T) []byte {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	der := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "test"}}, key))(t)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// signingRequests tries all verbs, and the approval, which only its own endpoint may write.
func (e *env) signingRequests(t *testing.T) {
	request := signingRequest(t)
	e.operate(t, operation{
		group: "certificates.k8s.io", version: "v1", resource: "certificatesigningrequests", subresources: []string{"approval", "status"},
		object: fmt.Sprintf("{spec: {request: %s, signerName: example.com/none, expirationSeconds: 3600, usages: [client auth]}}", base64.StdEncoding.EncodeToString(request)),
	}, "")
	api := e.CertificatesV1().CertificateSigningRequests()
	csr := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "approved.example.com"}}
	csr.Spec = certificatesv1.CertificateSigningRequestSpec{Request: request, SignerName: "example.com/none", Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth}}
	csr = must(api.Create(t.Context(), csr, metav1.CreateOptions{}))(t)
	approval := func() *rest.Request {
		return e.CertificatesV1().RESTClient().Get().Resource("certificatesigningrequests").Name(csr.Name).SubResource("approval")
	}
	must(0, approval().Do(t.Context()).Into(csr))(t)
	csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test", Message: "approved"})
	csr = must(api.UpdateApproval(t.Context(), csr.Name, csr, metav1.UpdateOptions{}))(t)
	if len(csr.Status.Conditions) != 1 {
		t.Errorf("after the approval the conditions are %v", csr.Status.Conditions)
	}
	patch := []byte(`{"metadata":{"annotations":{"patched":"yes"}}}`)
	for _, sub := range []string{"approval", "status"} {
		must(api.Patch(t.Context(), csr.Name, types.MergePatchType, patch, metav1.PatchOptions{}, sub))(t)
	}
	csr = must(api.Get(t.Context(), csr.Name, metav1.GetOptions{}))(t)
	csr.Status.Certificate = certificate(t)
	if csr = must(api.UpdateStatus(t.Context(), csr, metav1.UpdateOptions{}))(t); len(csr.Status.Certificate) == 0 {
		t.Error("after an update of the status there is no certificate")
	}
}

// certificate is one that signs itself.
func certificate(t *testing.T) []byte {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour)}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t)})
}
