// Package topologylabels is the admission plugin PodTopologyLabels: a pod that is put on a node gets the
// labels of the node's zone and region, so that it can learn by the downward API where it runs.
package topologylabels

import (
	"context"
	"errors"
	"io"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// Name is the plugin's name in flags.
const Name = "PodTopologyLabels"

var copied = []string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion}

// Register makes the plugin known.
func Register(plugins *admission.Plugins) {
	plugins.Register(Name, func(io.Reader) (admission.Interface, error) { return New(), nil })
}

// Plugin copies the labels.
type Plugin struct {
	*admission.Handler
	nodes corelisters.NodeLister
}

var (
	_ admission.MutationInterface                  = &Plugin{}
	_ initializer.WantsExternalKubeInformerFactory = &Plugin{}
)

// New returns a plugin that needs its informers set.
func New() *Plugin { return &Plugin{Handler: admission.NewHandler(admission.Create)} }

// SetExternalKubeInformerFactory implements initializer.WantsExternalKubeInformerFactory.
func (p *Plugin) SetExternalKubeInformerFactory(f informers.SharedInformerFactory) {
	i := f.Core().V1().Nodes()
	p.nodes = i.Lister()
	p.SetReadyFunc(i.Informer().HasSynced)
}

// ValidateInitialization implements admission.InitializationValidator.
func (p *Plugin) ValidateInitialization() error {
	if p.nodes == nil {
		return errors.New("missing lister of nodes")
	}
	return nil
}

// Admit implements admission.MutationInterface.
func (p *Plugin) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetResource().GroupResource() != corev1.Resource("pods") && a.GetResource().GroupResource() != corev1.Resource("bindings") {
		return nil
	}
	obj, name := target(a)
	if name == "" {
		return nil
	}
	if !p.WaitForReady() {
		return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	node, err := p.nodes.Get(name)
	if apierrors.IsNotFound(err) {
		return nil // a pod may name a node that is not there
	}
	if err != nil {
		return admission.NewForbidden(a, err)
	}
	labels := obj.GetLabels()
	for _, key := range copied {
		if value, ok := node.Labels[key]; ok {
			if labels == nil {
				labels = map[string]string{}
			}
			labels[key] = value
		}
	}
	obj.SetLabels(labels)
	return nil
}

// target is what is labelled, and the node that it goes to: a binding, whose labels become the pod's, or a
// pod that is put on a node by whoever makes it.
func target(a admission.Attributes) (metav1.Object, string) {
	switch o := a.GetObject().(type) {
	case *corev1.Binding:
		return o, o.Target.Name
	case *corev1.Pod:
		if a.GetSubresource() == "" {
			return o, o.Spec.NodeName
		}
	}
	return nil, ""
}
