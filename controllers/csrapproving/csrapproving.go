// Package csrapproving approves the client certificates of node agents.
//
// It watches CertificateSigningRequests for the signer
// kubernetes.io/kube-apiserver-client-kubelet that nobody has decided on, and
// writes the condition Approved of those whose subject is a node and whose
// author may create certificatesigningrequests/selfnodeclient, for a certificate
// of the author's own node, or certificatesigningrequests/nodeclient, for that of
// any. The API server is asked by a SubjectAccessReview.
//
// It denies nothing: what it does not approve waits for someone else. Serving
// certificates are not approved, as in Kubernetes, since nothing here can tell
// whether a node has the addresses that it asks for.
package csrapproving

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
)

// again is how long after a refusal rights are looked at again: they may be
// granted while the request waits.
const again = 10 * time.Second

// Reconciler reconciles CertificateSigningRequests.
type Reconciler struct {
	client client.Client
	now    func() time.Time
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{client: mgr.GetClient(), now: moment.Now(mgr)}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("certificatesigningrequest-approving-controller").
		For(&certificatesv1.CertificateSigningRequest{}).
		WithOptions(outcome.Options(2, mgr)).
		Complete(r)
}

// right is what lets a request be approved, and the message of the approval.
type right struct{ subresource, message string }

// Reconcile approves one request, if it may be.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o := &certificatesv1.CertificateSigningRequest{}
	if err := r.client.Get(ctx, req.NamespacedName, o); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	recognized := rights(o)
	for _, right := range recognized {
		allowed, err := r.allowed(ctx, o, right.subresource)
		if err != nil {
			return ctrl.Result{}, err
		}
		if !allowed {
			continue
		}
		now := metav1.NewTime(r.now())
		o.Status.Conditions = append(o.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "AutoApproved", Message: right.message,
			LastUpdateTime: now, LastTransitionTime: now,
		})
		if err := r.client.SubResource("approval").Update(ctx, o); err != nil {
			return outcome.Of(ctrl.Result{}, fmt.Errorf("approving request %s: %w", o.Name, err))
		}
		klog.FromContext(ctx).Info("Approved certificate", "request", o.Name, "user", o.Spec.Username)
		return ctrl.Result{}, nil
	}
	if len(recognized) > 0 {
		klog.FromContext(ctx).V(2).Info("Left a certificate of a node to be approved", "request", o.Name, "user", o.Spec.Username)
		return ctrl.Result{RequeueAfter: again}, nil
	}
	return ctrl.Result{}, nil
}

// allowed asks whether the author of a request has a right.
func (r *Reconciler) allowed(ctx context.Context, o *certificatesv1.CertificateSigningRequest, subresource string) (bool, error) {
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range o.Spec.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: o.Spec.Username, UID: o.Spec.UID, Groups: o.Spec.Groups, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: certificatesv1.GroupName, Resource: "certificatesigningrequests", Verb: "create", Subresource: subresource, Version: "*",
		},
	}}
	if err := r.client.Create(ctx, review); err != nil {
		return false, fmt.Errorf("asking for the rights of the author of request %s: %w", o.Name, err)
	}
	return review.Status.Allowed, nil
}

// rights are those by which a request could be approved, each enough; none if it
// is decided on, or not for a client certificate of a node.
func rights(o *certificatesv1.CertificateSigningRequest) []right {
	decided := slices.ContainsFunc(o.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed
	})
	if decided || len(o.Status.Certificate) > 0 || o.Spec.SignerName != certificatesv1.KubeAPIServerClientKubeletSignerName {
		return nil
	}
	name, is := nodeClient(o)
	if !is {
		return nil
	}
	out := []right{{"nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."}}
	if name == o.Spec.Username {
		out = append([]right{{"selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."}}, out...)
	}
	return out
}

// nodeClient reads the common name of a request for a client certificate of a
// node.
func nodeClient(o *certificatesv1.CertificateSigningRequest) (name string, is bool) {
	block, _ := pem.Decode(o.Spec.Request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return "", false
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || len(r.DNSNames)+len(r.IPAddresses)+len(r.EmailAddresses)+len(r.URIs) > 0 ||
		!slices.Equal(r.Subject.Organization, []string{"system:nodes"}) || !strings.HasPrefix(r.Subject.CommonName, "system:node:") {
		return "", false
	}
	usages := slices.DeleteFunc(slices.Clone(o.Spec.Usages), func(u certificatesv1.KeyUsage) bool {
		return u == certificatesv1.UsageKeyEncipherment || u == certificatesv1.UsageDigitalSignature
	})
	if !slices.Equal(usages, []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth}) || !slices.Contains(o.Spec.Usages, certificatesv1.UsageDigitalSignature) {
		return "", false
	}
	return r.Subject.CommonName, true
}
