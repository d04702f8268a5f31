package pod

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	translator "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	"coracle.dev/coracle/apiserver/subresource/connect"
)

// Connection serves a subresource of pods that is a connection: exec, attach, portforward or proxy.
type Connection struct {
	find       finder
	newOptions func() runtime.Object
	// path: the options hold the path that follows the subresource's name.
	path    bool
	methods []string
	open    func(ctx context.Context, f finder, name string, options runtime.Object, responder rest.Responder) (http.Handler, error)
}

var _ rest.Connecter = &Connection{}

var streamMethods = []string{"GET", "POST"}

// NewExec makes the storage of pods/exec.
func NewExec(pods *genericregistry.Store, nodes *connect.Connector) *Connection {
	return &Connection{
		find: finder{pods, nodes}, newOptions: func() runtime.Object { return &corev1.PodExecOptions{} },
		methods: streamMethods, open: exec,
	}
}

// NewAttach makes the storage of pods/attach.
func NewAttach(pods *genericregistry.Store, nodes *connect.Connector) *Connection {
	return &Connection{
		find: finder{pods, nodes}, newOptions: func() runtime.Object { return &corev1.PodAttachOptions{} },
		methods: streamMethods, open: attach,
	}
}

// NewPortForward makes the storage of pods/portforward.
func NewPortForward(pods *genericregistry.Store, nodes *connect.Connector) *Connection {
	return &Connection{
		find: finder{pods, nodes}, newOptions: func() runtime.Object { return &corev1.PodPortForwardOptions{} },
		methods: streamMethods, open: portForward,
	}
}

// NewProxy makes the storage of pods/proxy.
func NewProxy(pods *genericregistry.Store, nodes *connect.Connector) *Connection {
	return &Connection{
		find: finder{pods, nodes}, newOptions: func() runtime.Object { return &corev1.PodProxyOptions{} },
		path: true, methods: connect.Methods(), open: proxyTo,
	}
}

// New implements rest.Storage.
func (c *Connection) New() runtime.Object { return c.newOptions() }

// Destroy implements rest.Storage.
func (c *Connection) Destroy() {}

// ConnectMethods implements rest.Connecter.
func (c *Connection) ConnectMethods() []string { return c.methods }

// NewConnectOptions implements rest.Connecter.
func (c *Connection) NewConnectOptions() (runtime.Object, bool, string) {
	if c.path {
		return c.newOptions(), true, "path"
	}
	return c.newOptions(), false, ""
}

// Connect implements rest.Connecter.
func (c *Connection) Connect(ctx context.Context, name string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	return c.open(ctx, c.find, name, options, responder)
}

func exec(ctx context.Context, f finder, name string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	o, ok := options.(*corev1.PodExecOptions)
	if !ok {
		return nil, fmt.Errorf("invalid options object: %#v", options)
	}
	s := streams{o.Stdin, o.Stdout, o.Stderr, o.TTY}
	location, target, err := f.stream(ctx, name, o.Container, "exec", s, o.Command)
	if err != nil {
		return nil, err
	}
	return translated(location, target, s, responder), nil
}

func attach(ctx context.Context, f finder, name string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	o, ok := options.(*corev1.PodAttachOptions)
	if !ok {
		return nil, fmt.Errorf("invalid options object: %#v", options)
	}
	s := streams{o.Stdin, o.Stdout, o.Stderr, o.TTY}
	location, target, err := f.stream(ctx, name, o.Container, "attach", s, nil)
	if err != nil {
		return nil, err
	}
	return translated(location, target, s, responder), nil
}

// translated passes SPDY on, and speaks SPDY to the agent for clients that speak WebSocket.
func translated(location *url.URL, target connect.Target, s streams, responder rest.Responder) http.Handler {
	return translator.NewTranslatingHandler(
		connect.Handler(location, target.Transport, false, true, responder),
		translator.NewStreamTranslatorHandler(location, target.Transport, 0,
			translator.Options{Stdin: s.stdin, Stdout: s.stdout, Stderr: s.stderr, Tty: s.tty}),
		wsstream.IsWebSocketRequestWithStreamCloseProtocol)
}

func portForward(ctx context.Context, f finder, name string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	o, ok := options.(*corev1.PodPortForwardOptions)
	if !ok {
		return nil, fmt.Errorf("invalid options object: %#v", options)
	}
	location, target, err := f.forward(ctx, name, o.Ports)
	if err != nil {
		return nil, err
	}
	spdy := connect.Handler(location, target.Transport, false, true, responder)
	return translator.NewTranslatingHandler(spdy, translator.NewTunnelingHandler(spdy), wsstream.IsWebSocketRequestWithTunnelingProtocol), nil
}

// proxyTo serves [scheme:]name[:port] of a pod's own address.
func proxyTo(ctx context.Context, f finder, name string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	o, ok := options.(*corev1.PodProxyOptions)
	if !ok {
		return nil, fmt.Errorf("invalid options object: %#v", options)
	}
	scheme, name, port, valid := utilnet.SplitSchemeNamePort(name)
	if !valid {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid pod request %q", name))
	}
	pod, err := f.pod(ctx, name)
	if err != nil {
		return nil, err
	}
	if port == "" {
		for i := range pod.Spec.Containers {
			if ports := pod.Spec.Containers[i].Ports; len(ports) > 0 {
				port = strconv.Itoa(int(ports[0].ContainerPort))
				break
			}
		}
	}
	ip := pod.Status.PodIP
	if err := connect.CheckEndpoint(ip); err != nil {
		return nil, err
	}
	location := &url.URL{Scheme: scheme, Host: ip}
	if port != "" {
		location.Host = net.JoinHostPort(ip, port)
	}
	return connect.Handler(connect.Join(location, o.Path), f.nodes.Endpoints, true, false, responder), nil
}
