// Package defaultclass is the admission plugins DefaultStorageClass and DefaultIngressClass: claims and
// ingresses that name no class get the one that is marked as the default. Of several, the newest counts
// for claims; for ingresses several are an error.
package defaultclass

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/client-go/informers"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
)

// Names of the plugins in flags.
const (
	StorageName = "DefaultStorageClass"
	IngressName = "DefaultIngressClass"
)

const (
	storageAnnotation     = "storageclass.kubernetes.io/is-default-class"
	betaStorageAnnotation = "storageclass.beta.kubernetes.io/is-default-class"
)

// Register makes the plugins known.
func Register(plugins *admission.Plugins) {
	plugins.Register(StorageName, func(io.Reader) (admission.Interface, error) { return NewStorage(), nil })
	plugins.Register(IngressName, func(io.Reader) (admission.Interface, error) { return NewIngress(), nil })
}

// Storage gives claims their class.
type Storage struct {
	*admission.Handler
	classes storagelisters.StorageClassLister
}

// Ingress gives ingresses their class.
type Ingress struct {
	*admission.Handler
	classes networkinglisters.IngressClassLister
}

var (
	_ admission.MutationInterface                  = &Storage{}
	_ initializer.WantsExternalKubeInformerFactory = &Storage{}
	_ admission.MutationInterface                  = &Ingress{}
	_ initializer.WantsExternalKubeInformerFactory = &Ingress{}
)

// NewStorage returns a plugin that needs its informers set.
func NewStorage() *Storage { return &Storage{Handler: admission.NewHandler(admission.Create)} }

// NewIngress returns a plugin that needs its informers set.
func NewIngress() *Ingress { return &Ingress{Handler: admission.NewHandler(admission.Create)} }

// SetExternalKubeInformerFactory implements initializer.WantsExternalKubeInformerFactory.
func (p *Storage) SetExternalKubeInformerFactory(f informers.SharedInformerFactory) {
	i := f.Storage().V1().StorageClasses()
	p.classes = i.Lister()
	p.SetReadyFunc(i.Informer().HasSynced)
}

// SetExternalKubeInformerFactory implements initializer.WantsExternalKubeInformerFactory.
func (p *Ingress) SetExternalKubeInformerFactory(f informers.SharedInformerFactory) {
	i := f.Networking().V1().IngressClasses()
	p.classes = i.Lister()
	p.SetReadyFunc(i.Informer().HasSynced)
}

// ValidateInitialization implements admission.InitializationValidator.
func (p *Storage) ValidateInitialization() error {
	if p.classes == nil {
		return errors.New("missing lister of storage classes")
	}
	return nil
}

// ValidateInitialization implements admission.InitializationValidator.
func (p *Ingress) ValidateInitialization() error {
	if p.classes == nil {
		return errors.New("missing lister of ingress classes")
	}
	return nil
}

// Admit implements admission.MutationInterface.
func (p *Storage) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	claim, ok := a.GetObject().(*corev1.PersistentVolumeClaim)
	if !ok || a.GetSubresource() != "" {
		return nil
	}
	if _, named := claim.Annotations[corev1.BetaStorageClassAnnotation]; named || claim.Spec.StorageClassName != nil {
		return nil
	}
	if !p.WaitForReady() {
		return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	list, err := p.classes.List(labels.Everything())
	if err != nil {
		return admission.NewForbidden(a, err)
	}
	defaults := chosen(list, func(c *storagev1.StorageClass) bool {
		return c.Annotations[storageAnnotation] == "true" || c.Annotations[betaStorageAnnotation] == "true"
	})
	if len(defaults) > 0 {
		claim.Spec.StorageClassName = &defaults[0].Name
	}
	return nil
}

// Admit implements admission.MutationInterface.
func (p *Ingress) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	ingress, ok := a.GetObject().(*networkingv1.Ingress)
	if !ok || a.GetSubresource() != "" || ingress.Spec.IngressClassName != nil {
		return nil
	}
	if _, named := ingress.Annotations["kubernetes.io/ingress.class"]; named {
		return nil
	}
	if !p.WaitForReady() {
		return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	list, err := p.classes.List(labels.Everything())
	if err != nil {
		return admission.NewForbidden(a, err)
	}
	defaults := chosen(list, func(c *networkingv1.IngressClass) bool {
		return c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true"
	})
	if len(defaults) > 1 {
		return admission.NewForbidden(a, fmt.Errorf("%d default IngressClasses were found, only 1 allowed", len(defaults)))
	}
	if len(defaults) == 1 {
		ingress.Spec.IngressClassName = &defaults[0].Name
	}
	return nil
}

// chosen are the objects that are marked, the newest first, of equals the first by name.
func chosen[T metav1.Object](list []T, marked func(T) bool) []T {
	var out []T
	for _, o := range list {
		if marked(o) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b T) int {
		x, y := a.GetCreationTimestamp(), b.GetCreationTimestamp()
		return cmp.Or(y.Compare(x.Time), cmp.Compare(a.GetName(), b.GetName()))
	})
	return out
}
