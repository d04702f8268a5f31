package namespace

import (
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
)

// Names of the plugins in flags.
const (
	ExistsName        = "NamespaceExists"
	AutoProvisionName = "NamespaceAutoProvision"
)

// Register makes the plugins known.
func Register(plugins *admission.Plugins) {
	plugins.Register(ExistsName, func(io.Reader) (admission.Interface, error) {
		return &exists{NewSource(admission.Create, admission.Update, admission.Delete)}, nil
	})
	plugins.Register(AutoProvisionName, func(io.Reader) (admission.Interface, error) {
		return &autoProvision{NewSource(admission.Create)}, nil
	})
}

// concerns reports whether the request is about something within a namespace.
func concerns(a admission.Attributes) bool {
	return a.GetNamespace() != "" && a.GetKind().GroupKind() != corev1.SchemeGroupVersion.WithKind("Namespace").GroupKind()
}

type exists struct{ *Source }

var _ admission.ValidationInterface = &exists{}

// Validate implements admission.ValidationInterface.
func (p *exists) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if !concerns(a) {
		return nil
	}
	_, err := p.Get(ctx, a.GetNamespace())
	if err == nil || apierrors.IsNotFound(err) {
		return err
	}
	return admission.NewForbidden(a, err)
}

type autoProvision struct{ *Source }

var _ admission.MutationInterface = &autoProvision{}

// Admit implements admission.MutationInterface.
func (p *autoProvision) Admit(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if !concerns(a) || a.IsDryRun() {
		return nil
	}
	_, err := p.Get(ctx, a.GetNamespace())
	if !apierrors.IsNotFound(err) {
		if err != nil {
			return admission.NewForbidden(a, err)
		}
		return nil
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: a.GetNamespace()}}
	if _, err := p.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return admission.NewForbidden(a, fmt.Errorf("making namespace %s: %w", ns.Name, err))
	}
	return nil
}
