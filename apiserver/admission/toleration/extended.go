package toleration

import (
	"context"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission"
)

// ExtendedName is the name of ExtendedResourceToleration in flags.
const ExtendedName = "ExtendedResourceToleration"

// extended is the plugin ExtendedResourceToleration: who asks for a special device may use the nodes that
// are kept for it by a taint of its name.
type extended struct{ *admission.Handler }

var _ admission.MutationInterface = &extended{}

func newExtended() *extended {
	return &extended{admission.NewHandler(admission.Create, admission.Update)}
}

func registerExtended(plugins *admission.Plugins) {
	plugins.Register(ExtendedName, func(io.Reader) (admission.Interface, error) { return newExtended(), nil })
}

// Admit implements admission.MutationInterface.
func (p *extended) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod, ok := podOf(a)
	if !ok {
		return nil
	}
	names := sets.New[string]()
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for name := range c.Resources.Requests {
			if isExtended(string(name)) {
				names.Insert(string(name))
			}
		}
	}
	for _, name := range sets.List(names) {
		t := corev1.Toleration{Key: name, Operator: corev1.TolerationOpExists}
		if !slices.ContainsFunc(pod.Spec.Tolerations, func(o corev1.Toleration) bool { return o.MatchToleration(&t) }) {
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, t)
		}
	}
	return nil
}

// isExtended: resources of other domains than Kubernetes' own.
func isExtended(name string) bool {
	return strings.Contains(name, "/") && !strings.Contains(name, corev1.ResourceDefaultNamespacePrefix) &&
		!strings.HasPrefix(name, corev1.DefaultResourceRequestsPrefix)
}

func podOf(a admission.Attributes) (*corev1.Pod, bool) {
	pod, ok := a.GetObject().(*corev1.Pod)
	return pod, ok && a.GetSubresource() == "" && a.GetResource().GroupResource() == corev1.Resource("pods")
}
