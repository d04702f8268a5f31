// Package pullpolicy is the admission plugin AlwaysPullImages: every container of every pod pulls its
// image, so that nobody runs a private image merely because another user's pod has brought it to the node.
package pullpolicy

import (
	"context"
	"io"

	corev1 "k8s.io/api/core/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/admission"
)

// Name is the plugin's name in flags.
const Name = "AlwaysPullImages"

// Register makes the plugin known.
func Register(plugins *admission.Plugins) {
	plugins.Register(Name, func(io.Reader) (admission.Interface, error) { return New(), nil })
}

// Plugin implements the policy.
type Plugin struct{ *admission.Handler }

var (
	_ admission.MutationInterface   = &Plugin{}
	_ admission.ValidationInterface = &Plugin{}
)

// New returns a plugin.
func New() *Plugin { return &Plugin{admission.NewHandler(admission.Create, admission.Update)} }

// image is one that a pod uses, and where its policy is.
type image struct {
	name   string
	policy *corev1.PullPolicy
	path   *field.Path
}

func images(pod *corev1.Pod) []image {
	spec, path := &pod.Spec, field.NewPath("spec")
	var out []image
	add := func(name string, policy *corev1.PullPolicy, p *field.Path) { out = append(out, image{name, policy, p}) }
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		add(c.Image, &c.ImagePullPolicy, path.Child("initContainers").Index(i).Child("imagePullPolicy"))
	}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		add(c.Image, &c.ImagePullPolicy, path.Child("containers").Index(i).Child("imagePullPolicy"))
	}
	for i := range spec.EphemeralContainers {
		c := &spec.EphemeralContainers[i]
		add(c.Image, &c.ImagePullPolicy, path.Child("ephemeralContainers").Index(i).Child("imagePullPolicy"))
	}
	for i := range spec.Volumes {
		if v := spec.Volumes[i].Image; v != nil {
			add(v.Reference, &v.PullPolicy, path.Child("volumes").Index(i).Child("image", "pullPolicy"))
		}
	}
	return out
}

// pod is the one that the request concerns, unless it is an update that brings no image.
func pod(a admission.Attributes) *corev1.Pod {
	pod, ok := a.GetObject().(*corev1.Pod)
	if !ok || a.GetSubresource() != "" || a.GetResource().GroupResource() != corev1.Resource("pods") {
		return nil
	}
	if old, ok := a.GetOldObject().(*corev1.Pod); ok && a.GetOperation() == admission.Update {
		known := sets.New[string]()
		for _, i := range images(old) {
			known.Insert(i.name)
		}
		for _, i := range images(pod) {
			if !known.Has(i.name) {
				return pod
			}
		}
		return nil
	}
	return pod
}

// Admit implements admission.MutationInterface.
func (p *Plugin) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if pod := pod(a); pod != nil {
		for _, i := range images(pod) {
			*i.policy = corev1.PullAlways
		}
	}
	return nil
}

// Validate implements admission.ValidationInterface.
func (p *Plugin) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod := pod(a)
	if pod == nil {
		return nil
	}
	var errs []error
	for _, i := range images(pod) {
		if *i.policy != corev1.PullAlways {
			errs = append(errs, admission.NewForbidden(a, field.NotSupported(i.path, *i.policy, []corev1.PullPolicy{corev1.PullAlways})))
		}
	}
	return utilerrors.NewAggregate(errs)
}
