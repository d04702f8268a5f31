// Package csr is what certificate signing requests have besides their descriptor. New ones name the user
// who makes them (Sign). The approval subresource writes the conditions Approved and Denied, which /status
// leaves alone, and nothing else. The admission plugin
// CertificateApproval asks besides for the verb approve on the request's signer.
package csr

import (
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"coracle.dev/coracle/apiserver/registry"
)

// NewApproval makes the storage of certificatesigningrequests/approval.
func NewApproval(s *registry.Storage) *registry.Status {
	return registry.NewPart(s.Store, approvalStrategy{s.UpdateStrategy})
}

type approvalStrategy struct{ rest.RESTUpdateStrategy }

// GetResetFields implements rest.ResetFieldsStrategy.
func (approvalStrategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return map[fieldpath.APIVersion]*fieldpath.Set{"certificates.k8s.io/v1": fieldpath.NewSet(
		fieldpath.MakePathOrDie("spec"), fieldpath.MakePathOrDie("status", "certificate"))}
}

// PrepareForUpdate takes the conditions of obj, and all else of old.
func (approvalStrategy) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	r, o := obj.(*certificatesv1.CertificateSigningRequest), old.(*certificatesv1.CertificateSigningRequest)
	r.Spec = o.Spec
	r.Status.Certificate = o.Status.Certificate
	now := metav1.Now()
	for i := range r.Status.Conditions {
		c := &r.Status.Conditions[i]
		if c.LastUpdateTime.IsZero() {
			c.LastUpdateTime = now
		}
		if c.LastTransitionTime.IsZero() {
			c.LastTransitionTime = now
			for _, was := range o.Status.Conditions {
				if was.Type == c.Type && was.Status == c.Status && !was.LastTransitionTime.IsZero() {
					c.LastTransitionTime = was.LastTransitionTime
				}
			}
		}
	}
}

// ValidateUpdate: a decision is final, and there is one.
func (approvalStrategy) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("status", "conditions")
	now := conditions(obj.(*certificatesv1.CertificateSigningRequest))
	for kind := range conditions(old.(*certificatesv1.CertificateSigningRequest)) {
		if _, ok := now[kind]; !ok {
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("updates may not remove a condition of type %q", kind)))
		}
	}
	for i, c := range obj.(*certificatesv1.CertificateSigningRequest).Status.Conditions {
		at := path.Index(i)
		if c.Type == "" {
			errs = append(errs, field.Required(at.Child("type"), ""))
		}
		if c.Type != certificatesv1.CertificateFailed && c.Status != corev1.ConditionTrue && (c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied) {
			errs = append(errs, field.NotSupported(at.Child("status"), c.Status, []corev1.ConditionStatus{corev1.ConditionTrue}))
		}
	}
	if now[certificatesv1.CertificateApproved] && now[certificatesv1.CertificateDenied] {
		errs = append(errs, field.Invalid(path, nil, "Approved and Denied conditions are mutually exclusive"))
	}
	return errs
}

func conditions(r *certificatesv1.CertificateSigningRequest) map[certificatesv1.RequestConditionType]bool {
	out := map[certificatesv1.RequestConditionType]bool{}
	for _, c := range r.Status.Conditions {
		out[c.Type] = true
	}
	return out
}

// WarningsOnUpdate implements rest.RESTUpdateStrategy.
func (approvalStrategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}
