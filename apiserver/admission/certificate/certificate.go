package certificate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"
)

// Names of the plugins in flags.
const (
	ApprovalName           = "CertificateApproval"
	SigningName            = "CertificateSigning"
	AttestName             = "ClusterTrustBundleAttest"
	SubjectRestrictionName = "CertificateSubjectRestriction"
)

var (
	requests = certificatesv1.Resource("certificatesigningrequests")
	bundles  = certificatesv1.Resource("clustertrustbundles")
)

// Register makes the plugins known.
func Register(plugins *admission.Plugins) {
	for name, p := range map[string]signers{
		ApprovalName: {verb: "approve", signer: approved, refusal: "user not permitted to approve requests with signerName %q"},
		SigningName:  {verb: "sign", signer: signed, refusal: "user not permitted to sign requests with signerName %q"},
		AttestName:   {verb: "attest", signer: attested, refusal: "user not permitted to attest for signerName %q"},
	} {
		plugins.Register(name, func(io.Reader) (admission.Interface, error) {
			p.Handler = admission.NewHandler(admission.Create, admission.Update)
			return &p, nil
		})
	}
	plugins.Register(SubjectRestrictionName, func(io.Reader) (admission.Interface, error) { return newRestriction(), nil })
}

// signers is a plugin that asks for a verb on the signer that a request concerns.
type signers struct {
	*admission.Handler
	authorizer    authorizer.UnconditionalAuthorizer
	verb, refusal string
	// signer is the one that the request concerns, if it is any of the plugin's business.
	signer func(admission.Attributes) (name string, ok bool)
}

var (
	_ admission.ValidationInterface            = &signers{}
	_ initializer.WantsUnconditionalAuthorizer = &signers{}
)

// SetUnconditionalAuthorizer implements initializer.WantsUnconditionalAuthorizer.
func (p *signers) SetUnconditionalAuthorizer(a authorizer.UnconditionalAuthorizer) { p.authorizer = a }

// ValidateInitialization implements admission.InitializationValidator.
func (p *signers) ValidateInitialization() error {
	if p.authorizer == nil {
		return errors.New("the plugin needs an authorizer")
	}
	return nil
}

// Validate implements admission.ValidationInterface.
func (p *signers) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	signer, ok := p.signer(a)
	if !ok || p.may(ctx, a.GetUserInfo(), signer) {
		return nil
	}
	return admission.NewForbidden(a, fmt.Errorf(p.refusal, signer))
}

// may asks for the signer itself, then for all of its domain.
func (p *signers) may(ctx context.Context, u user.Info, signer string) bool {
	domain, _, _ := strings.Cut(signer, "/")
	for _, name := range []string{signer, domain + "/*"} {
		decision, reason, err := p.authorizer.Authorize(ctx, authorizer.AttributesRecord{
			User: u, Verb: p.verb, Name: name, APIGroup: certificatesv1.GroupName, APIVersion: "*", Resource: "signers", ResourceRequest: true,
		})
		if err == nil && decision == authorizer.DecisionAllow {
			return true
		}
		klog.FromContext(ctx).V(4).Info("Not permitted for signer", "user", u.GetName(), "verb", p.verb, "signer", name, "reason", reason, "err", err)
	}
	return false
}

func update(a admission.Attributes, subresource string) (now, old *certificatesv1.CertificateSigningRequest, ok bool) {
	if a.GetOperation() != admission.Update || a.GetResource().GroupResource() != requests || a.GetSubresource() != subresource {
		return nil, nil, false
	}
	now, okNow := a.GetObject().(*certificatesv1.CertificateSigningRequest)
	old, okOld := a.GetOldObject().(*certificatesv1.CertificateSigningRequest)
	return now, old, okNow && okOld
}

func approved(a admission.Attributes) (string, bool) {
	_, old, ok := update(a, "approval")
	if !ok {
		return "", false
	}
	return old.Spec.SignerName, true
}

// signed: a controller that only touches other fields of the status need not be the signer.
func signed(a admission.Attributes) (string, bool) {
	now, old, ok := update(a, "status")
	if !ok || string(now.Status.Certificate) == string(old.Status.Certificate) && equality.Semantic.DeepEqual(now.Status.Conditions, old.Status.Conditions) {
		return "", false
	}
	return old.Spec.SignerName, true
}

func attested(a admission.Attributes) (string, bool) {
	if a.GetResource().GroupResource() != bundles || a.GetSubresource() != "" {
		return "", false
	}
	bundle, ok := a.GetObject().(*certificatesv1beta1.ClusterTrustBundle)
	if !ok || bundle.Spec.SignerName == "" {
		return "", false
	}
	old, ok := a.GetOldObject().(*certificatesv1beta1.ClusterTrustBundle)
	if ok && equality.Semantic.DeepEqual(old.Spec, bundle.Spec) {
		return "", false
	}
	return bundle.Spec.SignerName, true
}
