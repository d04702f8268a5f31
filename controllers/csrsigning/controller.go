package csrsigning

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
)

// Reconciler reconciles CertificateSigningRequests.
type Reconciler struct {
	// Duration is how long certificates last at most. Set it before
	// SetupWithManager.
	Duration time.Duration

	client            client.Client
	certFile, keyFile string
	now               func() time.Time
}

// New makes the reconciler with the manager's client. The files hold the
// authority's certificate and key; they are read with every signature, so that
// they may be replaced.
func New(mgr ctrl.Manager, certFile, keyFile string) (*Reconciler, error) {
	r := &Reconciler{client: mgr.GetClient(), certFile: certFile, keyFile: keyFile, now: moment.Now(mgr), Duration: DefaultDuration}
	_, _, err := r.authority()
	return r, err
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("certificatesigningrequest-signing-controller").
		For(&certificatesv1.CertificateSigningRequest{}).
		WithOptions(outcome.Options(2, mgr)).
		Complete(r)
}

// Reconcile signs one request, or says why not.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o := &certificatesv1.CertificateSigningRequest{}
	if err := r.client.Get(ctx, req.NamespacedName, o); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !due(o) {
		return ctrl.Result{}, nil
	}
	parsed, err := parse(o.Spec.Request)
	if err == nil {
		err = refuse(o.Spec.SignerName, o.Spec.Usages, parsed)
	}
	var cert *x509.Certificate
	key, authority, loadErr := r.authority()
	if loadErr != nil {
		return ctrl.Result{}, loadErr
	}
	if err == nil {
		from, until := validity(r.now(), r.Duration, o.Spec.ExpirationSeconds, authority)
		cert, err = template(parsed, o.Spec.Usages, from, until)
	}
	if err != nil {
		return outcome.Of(ctrl.Result{}, r.fail(ctx, o, err))
	}
	if o.Status.Certificate, err = sign(cert, parsed.PublicKey, authority, key); err != nil {
		return ctrl.Result{}, fmt.Errorf("signing request %s: %w", o.Name, err)
	}
	if err := r.client.Status().Update(ctx, o); err != nil {
		return outcome.Of(ctrl.Result{}, fmt.Errorf("writing the certificate of request %s: %w", o.Name, err))
	}
	klog.FromContext(ctx).Info("Signed certificate", "request", o.Name, "signer", o.Spec.SignerName, "until", cert.NotAfter)
	return ctrl.Result{}, nil
}

// fail says that a request will never be signed.
func (r *Reconciler) fail(ctx context.Context, o *certificatesv1.CertificateSigningRequest, why error) error {
	now := metav1.NewTime(r.now())
	o.Status.Conditions = append(o.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateFailed, Status: corev1.ConditionTrue, Reason: "SignerValidationFailure",
		Message: why.Error(), LastUpdateTime: now, LastTransitionTime: now,
	})
	if err := r.client.Status().Update(ctx, o); err != nil {
		return fmt.Errorf("failing request %s: %w", o.Name, err)
	}
	klog.FromContext(ctx).Info("Refused to sign a certificate", "request", o.Name, "signer", o.Spec.SignerName, "reason", why.Error())
	return nil
}

func (r *Reconciler) authority() (crypto.Signer, *x509.Certificate, error) {
	certs, err := certutil.CertsFromFile(r.certFile)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the signing certificate: %w", err)
	}
	key, err := keyutil.PrivateKeyFromFile(r.keyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the signing key: %w", err)
	}
	signer, is := key.(crypto.Signer)
	if !is {
		return nil, nil, fmt.Errorf("reading the signing key: %T in %s cannot sign", key, r.keyFile)
	}
	return signer, certs[0], nil
}

func sign(c *x509.Certificate, public crypto.PublicKey, authority *x509.Certificate, key crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	c.SerialNumber = serial.Add(serial, big.NewInt(1))
	der, err := x509.CreateCertificate(rand.Reader, c, authority, public, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
