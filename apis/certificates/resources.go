// Package certificates declares the certificate signing request.
//
// The approval endpoint, and who may sign what, belong to the API server.
package certificates

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"coracle.dev/coracle/apis/resource"
)

// Resources lists the resources of the group.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{certificateSigningRequests.Describe()}
}

var certificateSigningRequests = resource.Resource[*certificatesv1.CertificateSigningRequest]{
	Version: certificatesv1.SchemeGroupVersion, Kind: "CertificateSigningRequest", Plural: "certificatesigningrequests",
	ShortNames: []string{"csr"}, ClusterScoped: true,
	New:          func() *certificatesv1.CertificateSigningRequest { return &certificatesv1.CertificateSigningRequest{} },
	NewList:      func() runtime.Object { return &certificatesv1.CertificateSigningRequestList{} },
	Spec:         func(o *certificatesv1.CertificateSigningRequest) any { return &o.Spec },
	Status:       func(o *certificatesv1.CertificateSigningRequest) any { return &o.Status },
	NoGeneration: true,
	ValidateName: resource.PathSegmentName,
	Fields: func(o *certificatesv1.CertificateSigningRequest) fields.Set {
		return fields.Set{"spec.signerName": o.Spec.SignerName}
	},
	FieldNames:           []string{"spec.signerName"},
	Columns:              csrColumns,
	Validate:             validateRequest,
	ValidateUpdate:       validateRequestUpdate,
	ValidateStatusUpdate: validateRequestStatus,
}
