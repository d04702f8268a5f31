package csrsigning

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
)

const (
	legacyUnknown = "kubernetes.io/legacy-unknown"
	nodePrefix    = "system:node:"
	nodesGroup    = "system:nodes"

	backdate = 5 * time.Minute
	shortest = 10 * time.Minute
	// DefaultDuration is how long certificates last unless their request says
	// less.
	DefaultDuration = 365 * 24 * time.Hour
)

// due tells whether a request is approved and has no outcome yet.
func due(r *certificatesv1.CertificateSigningRequest) bool {
	has := func(kind certificatesv1.RequestConditionType) bool {
		return slices.ContainsFunc(r.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
			return c.Type == kind && c.Status != corev1.ConditionFalse
		})
	}
	return ours(r.Spec.SignerName) && len(r.Status.Certificate) == 0 &&
		has(certificatesv1.CertificateApproved) && !has(certificatesv1.CertificateDenied) && !has(certificatesv1.CertificateFailed)
}

func ours(signer string) bool {
	_, is := rules[signer]
	return is || signer == legacyUnknown
}

// rule says what a signer signs.
type rule struct {
	required certificatesv1.KeyUsage
	allowed  []certificatesv1.KeyUsage
	subject  func(*x509.CertificateRequest) error
}

var rules = map[string]rule{
	certificatesv1.KubeAPIServerClientSignerName: {
		required: certificatesv1.UsageClientAuth,
		allowed:  []certificatesv1.KeyUsage{certificatesv1.UsageKeyEncipherment, certificatesv1.UsageDigitalSignature},
	},
	certificatesv1.KubeAPIServerClientKubeletSignerName: {
		required: certificatesv1.UsageClientAuth,
		allowed:  []certificatesv1.KeyUsage{certificatesv1.UsageKeyEncipherment, certificatesv1.UsageDigitalSignature},
		subject:  nodeClient,
	},
	certificatesv1.KubeletServingSignerName: {
		required: certificatesv1.UsageServerAuth,
		allowed:  []certificatesv1.KeyUsage{certificatesv1.UsageKeyEncipherment, certificatesv1.UsageDigitalSignature},
		subject:  nodeServing,
	},
}

// refuse is why a signer does not sign a request; nil if it does.
func refuse(signer string, usages []certificatesv1.KeyUsage, r *x509.CertificateRequest) error {
	rule, has := rules[signer]
	if !has {
		return nil // legacy-unknown signs everything
	}
	if !slices.Contains(usages, rule.required) {
		return fmt.Errorf("usages did not match %v", append(slices.Clone(rule.allowed), rule.required))
	}
	for _, u := range usages {
		if u != rule.required && !slices.Contains(rule.allowed, u) {
			return fmt.Errorf("usages did not match %v: %q is not among them", append(slices.Clone(rule.allowed), rule.required), u)
		}
	}
	if rule.subject == nil {
		return nil
	}
	return rule.subject(r)
}

func nodeClient(r *x509.CertificateRequest) error {
	switch {
	case len(r.DNSNames) > 0:
		return errors.New("DNS subjectAltNames are not allowed")
	case len(r.EmailAddresses) > 0:
		return errors.New("Email subjectAltNames are not allowed")
	case len(r.IPAddresses) > 0:
		return errors.New("IP subjectAltNames are not allowed")
	case len(r.URIs) > 0:
		return errors.New("URI subjectAltNames are not allowed")
	}
	return node(r)
}

func nodeServing(r *x509.CertificateRequest) error {
	switch {
	case len(r.DNSNames) == 0 && len(r.IPAddresses) == 0:
		return errors.New("DNS or IP subjectAltName is required")
	case len(r.EmailAddresses) > 0:
		return errors.New("Email subjectAltNames are not allowed")
	case len(r.URIs) > 0:
		return errors.New("URI subjectAltNames are not allowed")
	}
	return node(r)
}

func node(r *x509.CertificateRequest) error {
	if !slices.Equal(r.Subject.Organization, []string{nodesGroup}) {
		return fmt.Errorf("subject organization is not %s", nodesGroup)
	}
	if !strings.HasPrefix(r.Subject.CommonName, nodePrefix) {
		return fmt.Errorf("subject common name does not begin with %s", nodePrefix)
	}
	return nil
}

// parse reads the request within a CertificateSigningRequest.
func parse(data []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	return r, r.CheckSignature()
}

// validity is from when until when a certificate is valid.
func validity(now time.Time, longest time.Duration, seconds *int32, authority *x509.Certificate) (from, until time.Time) {
	lasts := longest
	if seconds != nil {
		lasts = max(min(time.Duration(*seconds)*time.Second, longest), shortest)
	}
	from, until = now.Add(-backdate), now.Add(lasts)
	if lasts < 2*backdate { // so short that being early would be much of it
		from = now
	}
	if authority.NotAfter.Before(until) {
		until = authority.NotAfter
	}
	return from, until
}

var keyUsages = map[certificatesv1.KeyUsage]x509.KeyUsage{
	certificatesv1.UsageSigning: x509.KeyUsageDigitalSignature, certificatesv1.UsageDigitalSignature: x509.KeyUsageDigitalSignature,
	certificatesv1.UsageContentCommitment: x509.KeyUsageContentCommitment, certificatesv1.UsageKeyEncipherment: x509.KeyUsageKeyEncipherment,
	certificatesv1.UsageKeyAgreement: x509.KeyUsageKeyAgreement, certificatesv1.UsageDataEncipherment: x509.KeyUsageDataEncipherment,
	certificatesv1.UsageCertSign: x509.KeyUsageCertSign, certificatesv1.UsageCRLSign: x509.KeyUsageCRLSign,
	certificatesv1.UsageEncipherOnly: x509.KeyUsageEncipherOnly, certificatesv1.UsageDecipherOnly: x509.KeyUsageDecipherOnly,
}

var extendedUsages = map[certificatesv1.KeyUsage]x509.ExtKeyUsage{
	certificatesv1.UsageAny: x509.ExtKeyUsageAny, certificatesv1.UsageServerAuth: x509.ExtKeyUsageServerAuth,
	certificatesv1.UsageClientAuth: x509.ExtKeyUsageClientAuth, certificatesv1.UsageCodeSigning: x509.ExtKeyUsageCodeSigning,
	certificatesv1.UsageEmailProtection: x509.ExtKeyUsageEmailProtection, certificatesv1.UsageSMIME: x509.ExtKeyUsageEmailProtection,
	certificatesv1.UsageIPsecEndSystem: x509.ExtKeyUsageIPSECEndSystem, certificatesv1.UsageIPsecTunnel: x509.ExtKeyUsageIPSECTunnel,
	certificatesv1.UsageIPsecUser: x509.ExtKeyUsageIPSECUser, certificatesv1.UsageTimestamping: x509.ExtKeyUsageTimeStamping,
	certificatesv1.UsageOCSPSigning: x509.ExtKeyUsageOCSPSigning, certificatesv1.UsageMicrosoftSGC: x509.ExtKeyUsageMicrosoftServerGatedCrypto,
	certificatesv1.UsageNetscapeSGC: x509.ExtKeyUsageNetscapeServerGatedCrypto,
}

// template is the certificate to be signed, without its serial number.
func template(r *x509.CertificateRequest, usages []certificatesv1.KeyUsage, from, until time.Time) (*x509.Certificate, error) {
	c := &x509.Certificate{
		Subject: r.Subject, DNSNames: r.DNSNames, IPAddresses: r.IPAddresses, EmailAddresses: r.EmailAddresses, URIs: r.URIs,
		NotBefore: from, NotAfter: until, BasicConstraintsValid: true,
	}
	for _, u := range usages {
		if k, is := keyUsages[u]; is {
			c.KeyUsage |= k
		} else if x, is := extendedUsages[u]; !is {
			return nil, fmt.Errorf("unrecognized usage %q", u)
		} else if !slices.Contains(c.ExtKeyUsage, x) {
			c.ExtKeyUsage = append(c.ExtKeyUsage, x)
		}
	}
	slices.Sort(c.ExtKeyUsage)
	return c, nil
}
