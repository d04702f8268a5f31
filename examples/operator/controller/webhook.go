package controller

import (
	"context"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"coracle.dev/coracle/examples/operator/api/v1alpha1"
)

// +kubebuilder:webhook:path=/validate-examples-coracle-dev-v1alpha1-website,mutating=false,failurePolicy=fail,sideEffects=None,groups=examples.coracle.dev,resources=websites,verbs=create;update,versions=v1alpha1,name=websites.examples.coracle.dev,admissionReviewVersions=v1

// Validator refuses Websites whose image may change under the same name.
type Validator struct{}

// SetupWebhookWithManager has the manager's webhook server validate Websites.
func SetupWebhookWithManager(mgr ctrl.Manager) error {
	return ctrl.NewWebhookManagedBy(mgr, &v1alpha1.Website{}).WithValidator(Validator{}).Complete()
}

// ValidateCreate implements admission.Validator.
func (Validator) ValidateCreate(_ context.Context, w *v1alpha1.Website) (admission.Warnings, error) {
	return nil, validate(w)
}

// ValidateUpdate implements admission.Validator.
func (Validator) ValidateUpdate(_ context.Context, _, w *v1alpha1.Website) (admission.Warnings, error) {
	return nil, validate(w)
}

// ValidateDelete implements admission.Validator.
func (Validator) ValidateDelete(context.Context, *v1alpha1.Website) (admission.Warnings, error) {
	return nil, nil
}

func validate(w *v1alpha1.Website) error {
	_, tag, _ := strings.Cut(w.Spec.Image[strings.LastIndex(w.Spec.Image, "/")+1:], ":")
	if tag != "" && tag != "latest" {
		return nil
	}
	fault := field.Invalid(field.NewPath("spec", "image"), w.Spec.Image, "use a tag other than latest, so that all pods serve with the same image")
	return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("Website").GroupKind(), w.Name, field.ErrorList{fault})
}
