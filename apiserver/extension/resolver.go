package extension

import (
	"fmt"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
)

// Resolver finds where a Service that extends the API can be reached: at one of its ready endpoints,
// which works before there is a service proxy on this machine, else at its cluster address.
type Resolver struct {
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
	self     *url.URL
}

// NewResolver makes a resolver. The service default/kubernetes is this server itself, at self.
func NewResolver(f informers.SharedInformerFactory, self *url.URL) *Resolver {
	return &Resolver{
		services: f.Core().V1().Services().Lister(),
		slices:   f.Discovery().V1().EndpointSlices().Lister(),
		self:     self,
	}
}

// ResolveEndpoint implements the aggregator's and the webhooks' ServiceResolver.
func (r *Resolver) ResolveEndpoint(namespace, name string, port int32) (*url.URL, error) {
	if namespace == "default" && name == "kubernetes" && port == 443 {
		return r.self, nil
	}
	service, err := r.services.Services(namespace).Get(name)
	if err != nil {
		return nil, fmt.Errorf("resolving service %s/%s: %w", namespace, name, err)
	}
	if service.Spec.Type != corev1.ServiceTypeExternalName {
		if u, err := proxy.ResolveEndpoint(r.services, r, namespace, name, port); err == nil {
			return u, nil
		}
	}
	return proxy.ResolveCluster(r.services, namespace, name, port)
}

// GetEndpointSlices implements proxy.EndpointSliceGetter.
func (r *Resolver) GetEndpointSlices(namespace, name string) ([]*discoveryv1.EndpointSlice, error) {
	return r.slices.EndpointSlices(namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: name}))
}
