// Package namespace are the admission plugins NamespaceExists, which refuses writes in namespaces that are
// not there, and NamespaceAutoProvision, which makes such namespaces instead.
//
// Source is how plugins look namespaces up: in the cache, and in the storage if it is not in the cache,
// which may lag.
package namespace

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// Source finds namespaces. Plugins embed it.
type Source struct {
	*admission.Handler
	client kubernetes.Interface
	lister corelisters.NamespaceLister
}

var (
	_ initializer.WantsExternalKubeClientSet       = &Source{}
	_ initializer.WantsExternalKubeInformerFactory = &Source{}
)

// NewSource returns a source for a plugin that handles the operations. It needs its client and informers
// set.
func NewSource(operations ...admission.Operation) *Source {
	return &Source{Handler: admission.NewHandler(operations...)}
}

// SetExternalKubeClientSet implements initializer.WantsExternalKubeClientSet.
func (s *Source) SetExternalKubeClientSet(c kubernetes.Interface) { s.client = c }

// SetExternalKubeInformerFactory implements initializer.WantsExternalKubeInformerFactory.
func (s *Source) SetExternalKubeInformerFactory(f informers.SharedInformerFactory) {
	i := f.Core().V1().Namespaces()
	s.lister = i.Lister()
	s.SetReadyFunc(i.Informer().HasSynced)
}

// ValidateInitialization implements admission.InitializationValidator.
func (s *Source) ValidateInitialization() error {
	if s.client == nil || s.lister == nil {
		return errors.New("the plugin needs a client and namespaces")
	}
	return nil
}

// Get returns a namespace, or a NotFound error.
func (s *Source) Get(ctx context.Context, name string) (*corev1.Namespace, error) {
	if !s.WaitForReady() {
		return nil, errors.New("not yet ready to handle request")
	}
	ns, err := s.lister.Get(name)
	if !apierrors.IsNotFound(err) {
		return ns, err
	}
	return s.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
}
