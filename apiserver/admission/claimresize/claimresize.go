// Package claimresize is the admission plugin PersistentVolumeClaimResize: a claim may ask for more only
// when it is bound, and its storage class says that volumes can be expanded.
package claimresize

import (
	"context"
	"errors"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/client-go/informers"
	storagelisters "k8s.io/client-go/listers/storage/v1"
)

// Name is the plugin's name in flags.
const Name = "PersistentVolumeClaimResize"

// The wordings are Kubernetes'.
var (
	errUnbound = errors.New("Only bound persistent volume claims can be expanded")                                                              //nolint:staticcheck // see above
	errClass   = errors.New("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize") //nolint:revive // see above
)

// Register makes the plugin known.
func Register(plugins *admission.Plugins) {
	plugins.Register(Name, func(io.Reader) (admission.Interface, error) { return New(), nil })
}

// Plugin refuses expansions.
type Plugin struct {
	*admission.Handler
	classes storagelisters.StorageClassLister
}

var (
	_ admission.ValidationInterface                = &Plugin{}
	_ initializer.WantsExternalKubeInformerFactory = &Plugin{}
)

// New returns a plugin that needs its informers set.
func New() *Plugin { return &Plugin{Handler: admission.NewHandler(admission.Update)} }

// SetExternalKubeInformerFactory implements initializer.WantsExternalKubeInformerFactory.
func (p *Plugin) SetExternalKubeInformerFactory(f informers.SharedInformerFactory) {
	i := f.Storage().V1().StorageClasses()
	p.classes = i.Lister()
	p.SetReadyFunc(i.Informer().HasSynced)
}

// ValidateInitialization implements admission.InitializationValidator.
func (p *Plugin) ValidateInitialization() error {
	if p.classes == nil {
		return errors.New("missing lister of storage classes")
	}
	return nil
}

// Validate implements admission.ValidationInterface.
func (p *Plugin) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	claim, ok := a.GetObject().(*corev1.PersistentVolumeClaim)
	old, updated := a.GetOldObject().(*corev1.PersistentVolumeClaim)
	if !ok || !updated || a.GetSubresource() != "" || !grows(claim, old) {
		return nil
	}
	if old.Status.Phase != corev1.ClaimBound {
		return admission.NewForbidden(a, errUnbound)
	}
	if !p.WaitForReady() {
		return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	class := className(claim)
	if class == "" || class != className(old) || !p.expands(class) {
		return admission.NewForbidden(a, errClass)
	}
	return nil
}

func grows(claim, old *corev1.PersistentVolumeClaim) bool {
	now, before := claim.Spec.Resources.Requests[corev1.ResourceStorage], old.Spec.Resources.Requests[corev1.ResourceStorage]
	return now.Cmp(before) > 0
}

func className(claim *corev1.PersistentVolumeClaim) string {
	if name, ok := claim.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return name
	}
	if claim.Spec.StorageClassName != nil {
		return *claim.Spec.StorageClassName
	}
	return ""
}

func (p *Plugin) expands(name string) bool {
	class, err := p.classes.Get(name)
	return err == nil && class.AllowVolumeExpansion != nil && *class.AllowVolumeExpansion
}
