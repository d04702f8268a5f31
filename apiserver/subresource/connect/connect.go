// Package connect reaches what runs on nodes on behalf of requests: the node agents, and the endpoints
// of pods and services.
//
// An agent is found by its Node: the first address of the preferred types, and the port that the agent
// reports. Its certificate is verified if a CA is configured, and this server proves its identity by a
// client certificate. Endpoints are reached without verification, as the API has always done; addresses
// of this machine itself (loopback, link-local) are refused.
package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/transport"
)

// DefaultAgentPort is where an agent listens that reports no port.
const DefaultAgentPort = 10250

// Options say how agents are reached.
type Options struct {
	// CertFile and KeyFile prove this server's identity; CAFile verifies the agents. Files are read
	// again as they change.
	CertFile, KeyFile, CAFile string
	// Preferred are the types of addresses to try, in order.
	Preferred []string
}

// Connector finds node agents and makes the transports to them.
type Connector struct {
	preferred        []corev1.NodeAddressType
	nodes            rest.Getter
	secure, insecure http.RoundTripper
	// Endpoints is the transport to endpoints of pods and services.
	Endpoints http.RoundTripper
}

// Target is a node's agent.
type Target struct {
	Host string // and port
	// Transport verifies the agent, Insecure does not.
	Transport, Insecure http.RoundTripper
}

// URL is that of a path of the agent.
func (t Target) URL(path string, query url.Values) *url.URL {
	return &url.URL{Scheme: "https", Host: t.Host, Path: path, RawQuery: query.Encode()}
}

// New returns a connector that finds agents in the store of nodes.
func New(o Options, nodes rest.Getter) (*Connector, error) {
	c := &Connector{nodes: nodes}
	for _, p := range o.Preferred {
		c.preferred = append(c.preferred, corev1.NodeAddressType(p))
	}
	config := func(insecure bool) *transport.Config {
		tlsConfig := transport.TLSConfig{CertFile: o.CertFile, KeyFile: o.KeyFile, Insecure: insecure, ReloadTLSFiles: o.CertFile != ""}
		if !insecure {
			tlsConfig.CAFile = o.CAFile
		}
		return &transport.Config{TLS: tlsConfig}
	}
	var errSecure, errInsecure error
	c.secure, errSecure = transport.New(config(o.CAFile == ""))
	c.insecure, errInsecure = transport.New(config(true))
	if err := errors.Join(errSecure, errInsecure); err != nil {
		return nil, fmt.Errorf("making transport to node agents: %w", err)
	}
	c.Endpoints = &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see the package
		TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 25, IdleConnTimeout: 90 * time.Second,
	}
	return c, nil
}

// Node finds the agent of a node.
func (c *Connector) Node(ctx context.Context, name string) (Target, error) {
	ctx = request.WithNamespace(ctx, "")
	ctx = request.WithRequestInfo(ctx, &request.RequestInfo{IsResourceRequest: true, APIVersion: "v1", Resource: "nodes"})
	obj, err := c.nodes.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return Target{}, err
	}
	node := obj.(*corev1.Node)
	address, err := c.address(node)
	if err != nil {
		return Target{}, err
	}
	port := int(node.Status.DaemonEndpoints.KubeletEndpoint.Port)
	if port <= 0 {
		port = DefaultAgentPort
	}
	return Target{Host: net.JoinHostPort(address, strconv.Itoa(port)), Transport: c.secure, Insecure: c.insecure}, nil
}

func (c *Connector) address(node *corev1.Node) (string, error) {
	for _, kind := range c.preferred {
		if i := slices.IndexFunc(node.Status.Addresses, func(a corev1.NodeAddress) bool { return a.Type == kind }); i >= 0 {
			return node.Status.Addresses[i].Address, nil
		}
	}
	return "", fmt.Errorf("no preferred addresses found; known addresses: %v", node.Status.Addresses)
}

// CheckEndpoint refuses addresses that no pod or service can have.
func CheckEndpoint(text string) error {
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsInterfaceLocalMulticast() || ip.IsUnspecified() {
		return apierrors.NewBadRequest("address not allowed")
	}
	return nil
}

// Handler proxies one request to a location. With upgrade set, only requests that change the protocol
// are let through; with rewrite set, links in answers are made to lead through this server.
func Handler(location *url.URL, via http.RoundTripper, rewrite, upgrade bool, responder rest.Responder) *proxy.UpgradeAwareHandler {
	return proxy.NewUpgradeAwareHandler(location, via, rewrite, upgrade, proxy.NewErrorResponder(responder))
}

// Methods are those that proxies serve.
func Methods() []string {
	return []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
}

// Join appends the path of a request to that of a location. A trailing slash is kept.
func Join(location *url.URL, suffix string) *url.URL {
	out := *location
	if suffix == "" {
		return &out
	}
	out.Path = path.Join("/", out.Path, suffix)
	if strings.HasSuffix(suffix, "/") && !strings.HasSuffix(out.Path, "/") {
		out.Path += "/"
	}
	return &out
}
