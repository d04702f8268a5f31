package service

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/util/proxy"

	"coracle.dev/coracle/apiserver/subresource/connect"
)

// Proxy serves services/proxy: it leads to one of the service's ready endpoints.
type Proxy struct {
	services rest.Getter
	slices   rest.Lister
	via      http.RoundTripper
}

var _ rest.Connecter = &Proxy{}

// NewProxy makes the storage of services/proxy over the stores of services and endpointslices.
func NewProxy(services rest.Getter, slices rest.Lister, c *connect.Connector) *Proxy {
	return &Proxy{services: services, slices: slices, via: c.Endpoints}
}

// New implements rest.Storage.
func (p *Proxy) New() runtime.Object { return &corev1.ServiceProxyOptions{} }

// Destroy implements rest.Storage.
func (p *Proxy) Destroy() {}

// ConnectMethods implements rest.Connecter.
func (p *Proxy) ConnectMethods() []string { return connect.Methods() }

// NewConnectOptions implements rest.Connecter.
func (p *Proxy) NewConnectOptions() (runtime.Object, bool, string) {
	return &corev1.ServiceProxyOptions{}, true, "path"
}

// Connect implements rest.Connecter. The id reads [scheme:]name[:port name or number].
func (p *Proxy) Connect(ctx context.Context, id string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	o, ok := options.(*corev1.ServiceProxyOptions)
	if !ok {
		return nil, fmt.Errorf("invalid options object: %#v", options)
	}
	scheme, name, port, valid := utilnet.SplitSchemeNamePort(id)
	if !valid {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid service request %q", id))
	}
	obj, err := p.services.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	s := obj.(*corev1.Service)
	if port, err = portName(s, port); err != nil {
		return nil, err
	}
	slices, err := p.endpoints(ctx, s)
	if err != nil {
		return nil, err
	}
	family := corev1.IPv4Protocol
	if len(s.Spec.IPFamilies) > 0 {
		family = s.Spec.IPFamilies[0]
	}
	host, err := proxy.RandomEndpoint(name, slices, port, family, func(e *discoveryv1.Endpoint) bool {
		return len(e.Addresses) > 0 && connect.CheckEndpoint(e.Addresses[0]) == nil
	})
	if err != nil {
		return nil, err
	}
	location := connect.Join(&url.URL{Scheme: scheme, Host: host}, o.Path)
	return connect.Handler(location, p.via, true, false, responder), nil
}

// portName is the name of the port that is meant by its name or number.
func portName(s *corev1.Service, port string) (string, error) {
	number, err := strconv.ParseInt(port, 10, 64)
	if err != nil {
		return port, nil
	}
	for i := range s.Spec.Ports {
		if int64(s.Spec.Ports[i].Port) == number {
			return s.Spec.Ports[i].Name, nil
		}
	}
	return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", number, s.Name))
}

func (p *Proxy) endpoints(ctx context.Context, s *corev1.Service) ([]*discoveryv1.EndpointSlice, error) {
	ctx = request.WithNamespace(as(ctx, discoveryv1.GroupName, "endpointslices"), s.Namespace)
	obj, err := p.slices.List(ctx, &internalversion.ListOptions{
		LabelSelector: labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: s.Name}),
	})
	if err != nil {
		return nil, fmt.Errorf("listing endpoints of service %s: %w", s.Name, err)
	}
	list := obj.(*discoveryv1.EndpointSliceList)
	slices := make([]*discoveryv1.EndpointSlice, len(list.Items))
	for i := range list.Items {
		slices[i] = &list.Items[i]
	}
	return slices, nil
}
