package csrcleaning

import (
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestExpiry(t *testing.T) {
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	changed := created.Add(30 * time.Minute)
	condition := func(kind certificatesv1.RequestConditionType) []certificatesv1.CertificateSigningRequestCondition {
		return []certificatesv1.CertificateSigningRequestCondition{{Type: kind, LastUpdateTime: metav1.NewTime(changed)}}
	}
	for name, tc := range map[string]struct {
		status certificatesv1.CertificateSigningRequestStatus
		want   time.Duration
	}{
		"waits":              {certificatesv1.CertificateSigningRequestStatus{}, 24 * time.Hour},
		"was denied":         {certificatesv1.CertificateSigningRequestStatus{Conditions: condition(certificatesv1.CertificateDenied)}, 90 * time.Minute},
		"has failed":         {certificatesv1.CertificateSigningRequestStatus{Conditions: condition(certificatesv1.CertificateFailed)}, 90 * time.Minute},
		"was issued":         {certificatesv1.CertificateSigningRequestStatus{Conditions: condition(certificatesv1.CertificateApproved), Certificate: []byte("x")}, 90 * time.Minute},
		"waits for a signer": {certificatesv1.CertificateSigningRequestStatus{Conditions: condition(certificatesv1.CertificateApproved)}, 365 * 24 * time.Hour},
	} {
		o := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(created)}, Status: tc.status}
		if got := expiry(o).Sub(created); got != tc.want {
			t.Errorf("a request that %s goes after %v, not %v", name, got, tc.want)
		}
	}
}
