// Package nodeselector is the admission plugin PodNodeSelector: pods of a namespace go to the nodes that
// the namespace is for.
//
// A namespace names them by its annotation scheduler.alpha.kubernetes.io/node-selector, or else takes
// clusterDefaultNodeSelector of the plugin's configuration. Pods get these labels into their selector, and
// are refused where they ask for other values. The configuration may also list, by namespace, all that
// pods there may select:
//
//	podNodeSelectorPluginConfig:
//	  clusterDefaultNodeSelector: name-of-node-selector
//	  namespace1: name-of-node-selector
package nodeselector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/admission"
	"sigs.k8s.io/yaml"

	"coracle.dev/coracle/apiserver/admission/namespace"
)

const (
	// Name is the plugin's name in flags.
	Name = "PodNodeSelector"

	annotation = "scheduler.alpha.kubernetes.io/node-selector"
	defaultKey = "clusterDefaultNodeSelector"
)

// Register makes the plugin known.
func Register(plugins *admission.Plugins) {
	plugins.Register(Name, func(config io.Reader) (admission.Interface, error) {
		allowed, err := read(config)
		return New(allowed), err
	})
}

// read reads which labels pods may select, by namespace.
func read(config io.Reader) (map[string]string, error) {
	if config == nil {
		return nil, nil
	}
	data, err := io.ReadAll(config)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	var c struct {
		Config map[string]string `json:"podNodeSelectorPluginConfig"`
	}
	if err := yaml.UnmarshalStrict(data, &c); err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	for name, selector := range c.Config {
		if _, err := labels.ConvertSelectorToLabelsMap(selector); err != nil {
			return nil, fmt.Errorf("reading configuration of %s: %w", name, err)
		}
	}
	return c.Config, nil
}

// Plugin implements the selection.
type Plugin struct {
	*namespace.Source
	allowed map[string]string
}

var (
	_ admission.MutationInterface   = &Plugin{}
	_ admission.ValidationInterface = &Plugin{}
)

// New returns a plugin that needs its client and informers set. allowed are the labels that pods may
// select, by namespace.
func New(allowed map[string]string) *Plugin {
	return &Plugin{Source: namespace.NewSource(admission.Create), allowed: allowed}
}

// Admit implements admission.MutationInterface.
func (p *Plugin) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	pod, ok := podOf(a)
	if !ok {
		return nil
	}
	selector, err := p.selector(ctx, a.GetNamespace())
	if err != nil {
		return err
	}
	if conflict(selector, pod.Spec.NodeSelector) {
		return refuse(a, pod, "pod node label selector conflicts with its namespace node label selector")
	}
	if len(selector) > 0 {
		merged := map[string]string{}
		maps.Copy(merged, selector)
		maps.Copy(merged, pod.Spec.NodeSelector)
		pod.Spec.NodeSelector = merged
	}
	return p.Validate(ctx, a, o)
}

// Validate implements admission.ValidationInterface.
func (p *Plugin) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod, ok := podOf(a)
	if !ok {
		return nil
	}
	selector, err := p.selector(ctx, a.GetNamespace())
	if err != nil {
		return err
	}
	if conflict(selector, pod.Spec.NodeSelector) {
		return refuse(a, pod, "pod node label selector conflicts with its namespace node label selector")
	}
	allowed, err := labels.ConvertSelectorToLabelsMap(p.allowed[a.GetNamespace()])
	if err != nil {
		return err
	}
	if len(allowed) > 0 && !within(pod.Spec.NodeSelector, allowed) {
		return refuse(a, pod, "pod node label selector labels conflict with its namespace whitelist")
	}
	return nil
}

func podOf(a admission.Attributes) (*corev1.Pod, bool) {
	pod, ok := a.GetObject().(*corev1.Pod)
	return pod, ok && a.GetSubresource() == "" && a.GetResource().GroupResource() == corev1.Resource("pods")
}

func refuse(a admission.Attributes, pod *corev1.Pod, why string) error {
	return apierrors.NewForbidden(a.GetResource().GroupResource(), pod.Name, errors.New(why))
}

func (p *Plugin) selector(ctx context.Context, name string) (labels.Set, error) {
	ns, err := p.Get(ctx, name)
	if err != nil {
		if apierrors.IsNotFound(err) {
			return nil, err
		}
		return nil, apierrors.NewInternalError(err)
	}
	text, ok := ns.Annotations[annotation]
	if !ok {
		text = p.allowed[defaultKey]
	}
	return labels.ConvertSelectorToLabelsMap(text)
}

func conflict(a, b map[string]string) bool {
	for k, v := range a {
		if w, ok := b[k]; ok && w != v {
			return true
		}
	}
	return false
}

func within(set, all map[string]string) bool {
	for k, v := range set {
		if w, ok := all[k]; !ok || w != v {
			return false
		}
	}
	return true
}
