package certificates

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// minSeconds is the shortest validity that can be asked for.
const minSeconds = 600

func validateRequest(r csr) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if err := checkPEM(r.Spec.Request); err != nil {
		errs = append(errs, field.Invalid(path.Child("request"), r.Spec.Request, fmt.Sprintf("%v", err)))
	}
	if len(r.Spec.Usages) == 0 {
		errs = append(errs, field.Required(path.Child("usages"), ""))
	}
	seen := map[certificatesv1.KeyUsage]bool{}
	for i, u := range r.Spec.Usages {
		if seen[u] {
			errs = append(errs, field.Duplicate(path.Child("usages").Index(i), u))
		}
		seen[u] = true
	}
	errs = append(errs, checkSigner(path.Child("signerName"), r.Spec.SignerName)...)
	if s := r.Spec.ExpirationSeconds; s != nil && *s < minSeconds {
		errs = append(errs, field.Invalid(path.Child("expirationSeconds"), *s, "may not specify a duration less than 600 seconds (10 minutes)"))
	}
	return append(errs, checkConditions(r)...)
}

// checkPEM requires one certificate request whose signature its own key has made.
func checkPEM(data []byte) error {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return fmt.Errorf("PEM block type must be CERTIFICATE REQUEST")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return err
	}
	return request.CheckSignature()
}

// checkSigner requires a domain and a path below it, such as example.com/servers.
func checkSigner(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	domain, rest, ok := strings.Cut(name, "/")
	if !ok || strings.Contains(rest, "/") {
		return field.ErrorList{field.Invalid(path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")}
	}
	var errs field.ErrorList
	for _, m := range utilvalidation.IsDNS1123Subdomain(domain) {
		errs = append(errs, field.Invalid(path, domain, "validating label \""+domain+"\": "+m))
	}
	if !strings.Contains(domain, ".") {
		errs = append(errs, field.Invalid(path, domain, "should be a domain with at least two segments separated by dots"))
	}
	for _, m := range utilvalidation.IsDNS1123Subdomain(rest) {
		errs = append(errs, field.Invalid(path, rest, "validating label \""+rest+"\": "+m))
	}
	return errs
}

func checkConditions(r csr) field.ErrorList {
	path := field.NewPath("status", "conditions")
	var errs field.ErrorList
	has := map[certificatesv1.RequestConditionType]bool{}
	for i, c := range r.Status.Conditions {
		at := path.Index(i)
		switch {
		case c.Type == "":
			errs = append(errs, field.Required(at.Child("type"), ""))
		case has[c.Type]:
			errs = append(errs, field.Duplicate(at.Child("type"), c.Type))
		}
		has[c.Type] = true
		if c.Status == "" {
			errs = append(errs, field.Required(at.Child("status"), ""))
		} else if final := c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed; final && c.Status != corev1.ConditionTrue {
			errs = append(errs, field.NotSupported(at.Child("status"), c.Status, []corev1.ConditionStatus{corev1.ConditionTrue}))
		}
	}
	if has[certificatesv1.CertificateApproved] && has[certificatesv1.CertificateDenied] {
		errs = append(errs, field.Invalid(path, certificatesv1.CertificateDenied, "Approved and Denied conditions are mutually exclusive"))
	}
	return errs
}

// validateRequestUpdate: what is asked for stays as it was, and so does a decision.
func validateRequestUpdate(r, old csr) field.ErrorList {
	errs := checkConditions(r)
	if !equality.Semantic.DeepEqual(r.Spec, old.Spec) {
		errs = append(errs, field.Forbidden(field.NewPath("spec"), "field is immutable"))
	}
	for _, kind := range []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed} {
		if hasCondition(old, kind) && !hasCondition(r, kind) {
			errs = append(errs, field.Forbidden(field.NewPath("status", "conditions"), fmt.Sprintf("updates may not remove a condition of type %q", kind)))
		}
	}
	return errs
}

// validateRequestStatus: the certificate, once issued, is the one.
func validateRequestStatus(r, old csr) field.ErrorList {
	errs := validateRequestUpdate(r, old)
	at := field.NewPath("status", "certificate")
	if len(old.Status.Certificate) > 0 && string(r.Status.Certificate) != string(old.Status.Certificate) {
		errs = append(errs, field.Forbidden(at, "updates may not modify existing certificate content"))
	}
	if len(r.Status.Certificate) > 0 {
		if block, _ := pem.Decode(r.Status.Certificate); block == nil || block.Type != "CERTIFICATE" {
			errs = append(errs, field.Invalid(at, "<certificate data>", "must contain at least one CERTIFICATE PEM block"))
		}
	}
	return errs
}

func hasCondition(r csr, kind certificatesv1.RequestConditionType) bool {
	for _, c := range r.Status.Conditions {
		if c.Type == kind {
			return true
		}
	}
	return false
}
