// Package node is the proxy subresource of nodes: it leads to the node's agent, or, where a port is
// given, to whatever listens there on the node.
package node

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/registry/rest"

	"coracle.dev/coracle/apiserver/subresource/connect"
)

// Proxy serves nodes/proxy.
type Proxy struct{ nodes *connect.Connector }

var _ rest.Connecter = &Proxy{}

// NewProxy makes the storage of nodes/proxy.
func NewProxy(nodes *connect.Connector) *Proxy { return &Proxy{nodes: nodes} }

// New implements rest.Storage.
func (p *Proxy) New() runtime.Object { return &corev1.NodeProxyOptions{} }

// Destroy implements rest.Storage.
func (p *Proxy) Destroy() {}

// ConnectMethods implements rest.Connecter.
func (p *Proxy) ConnectMethods() []string { return connect.Methods() }

// NewConnectOptions implements rest.Connecter.
func (p *Proxy) NewConnectOptions() (runtime.Object, bool, string) {
	return &corev1.NodeProxyOptions{}, true, "path"
}

// Connect implements rest.Connecter.
func (p *Proxy) Connect(ctx context.Context, id string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	o, ok := options.(*corev1.NodeProxyOptions)
	if !ok {
		return nil, fmt.Errorf("invalid options object: %#v", options)
	}
	scheme, name, port, valid := utilnet.SplitSchemeNamePort(id)
	if !valid {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid node request %q", id))
	}
	target, err := p.nodes.Node(ctx, name)
	if err != nil {
		return nil, err
	}
	host, agentPort, err := net.SplitHostPort(target.Host)
	if err != nil {
		return nil, fmt.Errorf("reading address of node %s: %w", name, err)
	}
	if port == "" || port == agentPort {
		return connect.Handler(connect.Join(target.URL("/", nil), o.Path), target.Transport, true, false, responder), nil
	}
	// Without certificates of this server's: who knows what listens there.
	location := &url.URL{Scheme: scheme, Host: net.JoinHostPort(host, port)}
	return connect.Handler(connect.Join(location, o.Path), p.nodes.Endpoints, true, false, responder), nil
}
