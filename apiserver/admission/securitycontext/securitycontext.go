// Package securitycontext is the admission plugin SecurityContextDeny, which Kubernetes had until v1.29:
// pods may not choose their user, groups or SELinux options. PodSecurity does more, and better.
package securitycontext

import (
	"context"
	"errors"
	"io"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/admission"
)

// Name is the plugin's name in flags.
const Name = "SecurityContextDeny"

// Register makes the plugin known.
func Register(plugins *admission.Plugins) {
	plugins.Register(Name, func(io.Reader) (admission.Interface, error) { return New(), nil })
}

// Plugin implements the refusal.
type Plugin struct{ *admission.Handler }

var _ admission.ValidationInterface = &Plugin{}

// New returns a plugin.
func New() *Plugin { return &Plugin{admission.NewHandler(admission.Create, admission.Update)} }

// Validate implements admission.ValidationInterface.
func (p *Plugin) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod, ok := a.GetObject().(*corev1.Pod)
	if !ok || a.GetSubresource() != "" || a.GetResource().GroupResource() != corev1.Resource("pods") {
		return nil
	}
	if fault := fault(&pod.Spec); fault != "" {
		return apierrors.NewForbidden(a.GetResource().GroupResource(), pod.Name, errors.New(fault+" is forbidden"))
	}
	return nil
}

// fault is the first field that is set and must not be.
func fault(spec *corev1.PodSpec) string {
	if s := spec.SecurityContext; s != nil {
		switch {
		case len(s.SupplementalGroups) > 0:
			return "pod.Spec.SecurityContext.SupplementalGroups"
		case s.SELinuxOptions != nil:
			return "pod.Spec.SecurityContext.SELinuxOptions"
		case s.RunAsUser != nil:
			return "pod.Spec.SecurityContext.RunAsUser"
		case s.FSGroup != nil:
			return "pod.Spec.SecurityContext.FSGroup"
		}
	}
	var contexts []*corev1.SecurityContext
	for _, c := range spec.InitContainers {
		contexts = append(contexts, c.SecurityContext)
	}
	for _, c := range spec.Containers {
		contexts = append(contexts, c.SecurityContext)
	}
	for _, s := range contexts {
		switch {
		case s == nil:
		case s.SELinuxOptions != nil:
			return "SecurityContext.SELinuxOptions"
		case s.RunAsUser != nil:
			return "SecurityContext.RunAsUser"
		}
	}
	return ""
}
