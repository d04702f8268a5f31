package removed

import (
	corev1 "k8s.io/api/core/v1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	networkingv1 "k8s.io/api/networking/v1"
	networkingv1beta1 "k8s.io/api/networking/v1beta1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"coracle.dev/coracle/apis/resource"
)

// backend is a backend of either old version, whose types are alike.
type backend struct {
	serviceName string
	servicePort intstr.IntOrString
	resource    *corev1.TypedLocalObjectReference
}

func (b backend) current() networkingv1.IngressBackend {
	out := networkingv1.IngressBackend{Resource: b.resource.DeepCopy()}
	if b.serviceName == "" && b.servicePort == (intstr.IntOrString{}) {
		return out
	}
	out.Service = &networkingv1.IngressServiceBackend{Name: b.serviceName}
	if b.servicePort.Type == intstr.String {
		out.Service.Port.Name = b.servicePort.StrVal
	} else {
		out.Service.Port.Number = b.servicePort.IntVal
	}
	return out
}

func backendOf(b *networkingv1.IngressBackend) backend {
	out := backend{resource: b.Resource.DeepCopy()}
	if s := b.Service; s != nil {
		out.serviceName = s.Name
		if s.Port.Name != "" {
			out.servicePort = intstr.FromString(s.Port.Name)
		} else {
			out.servicePort = intstr.FromInt32(s.Port.Number)
		}
	}
	return out
}

var extensionsIngress = rules[extensionsv1beta1.Ingress, networkingv1.Ingress]{
	defaults: func(i *extensionsv1beta1.Ingress) {
		for _, r := range i.Spec.Rules {
			if r.HTTP == nil {
				continue
			}
			for j := range r.HTTP.Paths {
				resource.SetPointer(&r.HTTP.Paths[j].PathType, extensionsv1beta1.PathTypeImplementationSpecific)
			}
		}
	},
	to: func(old *extensionsv1beta1.Ingress, now *networkingv1.Ingress) {
		convert := func(b extensionsv1beta1.IngressBackend) networkingv1.IngressBackend {
			return backend{b.ServiceName, b.ServicePort, b.Resource}.current()
		}
		if old.Spec.Backend != nil {
			b := convert(*old.Spec.Backend)
			now.Spec.DefaultBackend = &b
		}
		for i, r := range old.Spec.Rules {
			for j := range pathsOf(r.HTTP) {
				now.Spec.Rules[i].HTTP.Paths[j].Backend = convert(r.HTTP.Paths[j].Backend)
			}
		}
	},
	from: func(now *networkingv1.Ingress, old *extensionsv1beta1.Ingress) {
		convert := func(b *networkingv1.IngressBackend) extensionsv1beta1.IngressBackend {
			o := backendOf(b)
			return extensionsv1beta1.IngressBackend{ServiceName: o.serviceName, ServicePort: o.servicePort, Resource: o.resource}
		}
		if b := now.Spec.DefaultBackend; b != nil {
			o := convert(b)
			old.Spec.Backend = &o
		}
		for i, r := range now.Spec.Rules {
			if r.HTTP == nil {
				continue
			}
			for j := range r.HTTP.Paths {
				old.Spec.Rules[i].HTTP.Paths[j].Backend = convert(&r.HTTP.Paths[j].Backend)
			}
		}
	},
}

func pathsOf(h *extensionsv1beta1.HTTPIngressRuleValue) []extensionsv1beta1.HTTPIngressPath {
	if h == nil {
		return nil
	}
	return h.Paths
}

var networkingIngress = rules[networkingv1beta1.Ingress, networkingv1.Ingress]{
	defaults: func(i *networkingv1beta1.Ingress) {
		for _, r := range i.Spec.Rules {
			if r.HTTP == nil {
				continue
			}
			for j := range r.HTTP.Paths {
				resource.SetPointer(&r.HTTP.Paths[j].PathType, networkingv1beta1.PathTypeImplementationSpecific)
			}
		}
	},
	to: func(old *networkingv1beta1.Ingress, now *networkingv1.Ingress) {
		convert := func(b networkingv1beta1.IngressBackend) networkingv1.IngressBackend {
			return backend{b.ServiceName, b.ServicePort, b.Resource}.current()
		}
		if old.Spec.Backend != nil {
			b := convert(*old.Spec.Backend)
			now.Spec.DefaultBackend = &b
		}
		for i, r := range old.Spec.Rules {
			if r.HTTP == nil {
				continue
			}
			for j := range r.HTTP.Paths {
				now.Spec.Rules[i].HTTP.Paths[j].Backend = convert(r.HTTP.Paths[j].Backend)
			}
		}
	},
	from: func(now *networkingv1.Ingress, old *networkingv1beta1.Ingress) {
		convert := func(b *networkingv1.IngressBackend) networkingv1beta1.IngressBackend {
			o := backendOf(b)
			return networkingv1beta1.IngressBackend{ServiceName: o.serviceName, ServicePort: o.servicePort, Resource: o.resource}
		}
		if b := now.Spec.DefaultBackend; b != nil {
			o := convert(b)
			old.Spec.Backend = &o
		}
		for i, r := range now.Spec.Rules {
			if r.HTTP == nil {
				continue
			}
			for j := range r.HTTP.Paths {
				old.Spec.Rules[i].HTTP.Paths[j].Backend = convert(&r.HTTP.Paths[j].Backend)
			}
		}
	},
}
