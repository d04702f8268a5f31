// Package toleration are the admission plugins about tolerations of pods: DefaultTolerationSeconds, by
// which pods stay on a node that is not ready or unreachable for five minutes, unless they say otherwise;
// ExtendedResourceToleration, by which they may go where the devices are that they ask for; and
// PodTolerationRestriction, by which namespaces say what their pods tolerate.
package toleration

import (
	"context"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"
)

const (
	// Name is the name of DefaultTolerationSeconds in flags.
	Name = "DefaultTolerationSeconds"

	defaultSeconds = int64(300)
)

// Register makes the plugins known.
func Register(plugins *admission.Plugins) {
	plugins.Register(Name, func(io.Reader) (admission.Interface, error) { return New(), nil })
	registerExtended(plugins)
	registerRestriction(plugins)
}

// Plugin implements the defaulting.
type Plugin struct{ *admission.Handler }

var _ admission.MutationInterface = &Plugin{}

// New returns a plugin.
func New() *Plugin { return &Plugin{admission.NewHandler(admission.Create, admission.Update)} }

// Admit implements admission.MutationInterface.
func (p *Plugin) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod, ok := podOf(a)
	if !ok {
		return nil
	}
	for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		if !tolerates(pod, key) {
			seconds := defaultSeconds
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{
				Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds,
			})
		}
	}
	return nil
}

func tolerates(pod *corev1.Pod, key string) bool {
	for _, t := range pod.Spec.Tolerations {
		if (t.Key == key || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "") {
			return true
		}
	}
	return false
}
