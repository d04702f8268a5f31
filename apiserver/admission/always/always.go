// Package always are the admission plugins AlwaysAdmit, which does nothing, and AlwaysDeny, which refuses
// every write. They are there for flags that name them.
package always

import (
	"context"
	"errors"
	"io"

	"k8s.io/apiserver/pkg/admission"
)

// Names of the plugins in flags.
const (
	AdmitName = "AlwaysAdmit"
	DenyName  = "AlwaysDeny"
)

// Register makes the plugins known.
func Register(plugins *admission.Plugins) {
	plugins.Register(AdmitName, func(io.Reader) (admission.Interface, error) { return admit{}, nil })
	plugins.Register(DenyName, func(io.Reader) (admission.Interface, error) { return deny{}, nil })
}

type admit struct{}

// Handles implements admission.Interface.
func (admit) Handles(admission.Operation) bool { return true }

type deny struct{}

var (
	_ admission.MutationInterface   = deny{}
	_ admission.ValidationInterface = deny{}
)

// Handles implements admission.Interface.
func (deny) Handles(admission.Operation) bool { return true }

// Admit implements admission.MutationInterface.
func (deny) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	return admission.NewForbidden(a, errors.New("admission control is denying all modifications"))
}

// Validate implements admission.ValidationInterface.
func (d deny) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	return d.Admit(ctx, a, o)
}
