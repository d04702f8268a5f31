package certificates

import (
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"coracle.dev/coracle/apis/resource"
)

type csr = *certificatesv1.CertificateSigningRequest

var csrColumns = []resource.Column[csr]{
	resource.Name[csr](),
	resource.Age[csr](),
	resource.Text("SignerName", func(r csr) any { return r.Spec.SignerName }),
	resource.Text("Requestor", func(r csr) any { return r.Spec.Username }),
	resource.Text("RequestedDuration", func(r csr) any {
		if r.Spec.ExpirationSeconds == nil {
			return resource.None
		}
		return duration.HumanDuration(time.Duration(*r.Spec.ExpirationSeconds) * time.Second)
	}),
	resource.Text("Condition", func(r csr) any { return condition(r) }),
}

func condition(r csr) string {
	has := map[certificatesv1.RequestConditionType]bool{}
	for _, c := range r.Status.Conditions {
		has[c.Type] = true
	}
	state := "Pending"
	if has[certificatesv1.CertificateDenied] {
		state = "Denied"
	} else if has[certificatesv1.CertificateApproved] {
		state = "Approved"
	}
	if has[certificatesv1.CertificateFailed] {
		state += ",Failed"
	}
	if len(r.Status.Certificate) > 0 {
		state += ",Issued"
	}
	return state
}
