// Package csrcleaning deletes certificate requests that nobody needs any more.
//
// It watches CertificateSigningRequests, and deletes those that were issued,
// denied or have failed an hour ago, those that have waited for a decision for a
// day, and those whose certificate has expired.
package csrcleaning

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
)

// How long requests are kept, as in Kubernetes.
const (
	decided = time.Hour
	pending = 24 * time.Hour
)

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
		Named("certificatesigningrequest-cleaner-controller").
		For(&certificatesv1.CertificateSigningRequest{}).
		WithOptions(outcome.Options(1, mgr)).
		Complete(r)
}

// Reconcile deletes one request if its time has come.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o := &certificatesv1.CertificateSigningRequest{}
	if err := r.client.Get(ctx, req.NamespacedName, o); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if left := expiry(o).Sub(r.now()); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	err := r.client.Delete(ctx, o, client.Preconditions{UID: &o.UID, ResourceVersion: &o.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return outcome.Of(ctrl.Result{}, fmt.Errorf("deleting request %s: %w", o.Name, err))
	}
	klog.FromContext(ctx).Info("Deleted an old certificate request", "request", o.Name)
	return ctrl.Result{}, nil
}

// expiry is when a request is to be deleted.
func expiry(o *certificatesv1.CertificateSigningRequest) time.Time {
	at := time.Time{}
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	for _, c := range o.Status.Conditions {
		switch c.Type {
		case certificatesv1.CertificateApproved:
			if len(o.Status.Certificate) > 0 {
				sooner(c.LastUpdateTime.Add(decided))
			}
		case certificatesv1.CertificateDenied, certificatesv1.CertificateFailed:
			sooner(c.LastUpdateTime.Add(decided))
		}
	}
	if block, _ := pem.Decode(o.Status.Certificate); block != nil {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			sooner(cert.NotAfter)
		}
	}
	if len(o.Status.Conditions) == 0 {
		sooner(o.CreationTimestamp.Add(pending))
	}
	if at.IsZero() { // approved, and not signed yet: its signer's
		return o.CreationTimestamp.Add(365 * pending)
	}
	return at
}
