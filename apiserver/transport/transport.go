// Package transport lets clients in the API server's own process call it without a socket: an
// http.RoundTripper that runs the server's handler in a goroutine, as a given user.
//
// It carries requests, streamed responses and cancellation, and no other value of the caller's
// context. Headers and body are what a client over HTTP/2 would send and see. There is no upgrade:
// exec, attach and port-forward need the socket.
//
// Invariants: the response is handed out as soon as the handler flushes, returns, or has filled the
// buffer; a handler that writes faster than the client reads is held back; closing the body ends the
// handler's context; a panic in the handler becomes an error of the reader and never ends the process.
package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// Host is the base URL of in-process requests.
const Host = "http://in-process"

// ErrNotReady is returned while the server has no handler yet.
var ErrNotReady = errors.New("in-process API server is not ready")

// Server is one handler, which is set once it exists, and any number of clients that may be made
// before that.
type Server struct {
	handler atomic.Pointer[http.Handler]
}

// Set makes the handler known. Requests before that fail with ErrNotReady.
func (s *Server) Set(h http.Handler) { s.handler.Store(&h) }

// Stop forgets the handler: later requests fail with ErrNotReady, as they would on a closed port.
func (s *Server) Stop() { s.handler.Store(nil) }

type userKey struct{}

// UserFrom returns the user of an in-process request. Requests from the network never have one: it is
// carried by the context, not by the request's bytes.
func UserFrom(ctx context.Context) (user.Info, bool) {
	u, ok := ctx.Value(userKey{}).(user.Info)
	return u, ok
}

// ClientConfig returns a configuration for clients that act as u: protobuf where the type has it,
// without rate limits.
func (s *Server) ClientConfig(u user.Info) *rest.Config {
	return &rest.Config{
		Host:      Host,
		Transport: &roundTripper{server: s, user: u},
		QPS:       -1,
		// Deprecation warnings are for authors of manifests; nobody reads them here.
		WarningHandler: rest.NoWarnings{},
		ContentConfig: rest.ContentConfig{
			ContentType:        "application/vnd.kubernetes.protobuf",
			AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json",
		},
	}
}

// cancelOnly passes on the end of a context and the user, and hides the caller's other values: those
// of a server handler that is itself a client must not leak into the inner request.
type cancelOnly struct {
	context.Context
	user user.Info
}

// Value implements context.Context.
func (c cancelOnly) Value(key any) any {
	if _, ok := key.(userKey); ok {
		return c.user
	}
	return nil
}

// AfterFunc lets contexts derived from this one learn of its end without a goroutine each.
func (c cancelOnly) AfterFunc(f func()) func() bool { return context.AfterFunc(c.Context, f) }

type roundTripper struct {
	server *Server
	user   user.Info
}

// RoundTrip implements http.RoundTripper.
func (t *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	handler := t.server.handler.Load()
	if handler == nil {
		closeBody(req)
		return nil, ErrNotReady
	}
	ctx, cancel := context.WithCancelCause(cancelOnly{req.Context(), t.user})
	r := inbound(req, ctx)
	w := newWriter(ctx, cancel)
	go serve(*handler, w, r)

	select {
	case <-w.committed:
		return w.response(req), nil
	case <-req.Context().Done():
		cancel(req.Context().Err())
		return nil, req.Context().Err()
	}
}

// inbound makes what the handler gets of what the client sent.
func inbound(req *http.Request, ctx context.Context) *http.Request {
	r := req.Clone(ctx)
	r.RequestURI = r.URL.RequestURI()
	r.RemoteAddr = "127.0.0.1:0"
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	if r.Body == nil {
		r.Body = http.NoBody
	}
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	return r
}

func serve(h http.Handler, w *writer, r *http.Request) {
	defer closeBody(r)
	defer func() {
		switch p := recover(); {
		case p == nil:
			w.finish(nil)
		case p == http.ErrAbortHandler: //nolint:errorlint // the very value, as net/http compares it
			w.finish(errors.New("in-process API server aborted the response"))
		default:
			klog.FromContext(r.Context()).Error(fmt.Errorf("%v", p), "Handler panicked", "method", r.Method, "path", r.URL.Path, "stack", string(debug.Stack()))
			w.finish(fmt.Errorf("in-process API server panicked: %v", p))
		}
	}()
	h.ServeHTTP(w, r)
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}

// response is what the client gets. The writer is its body.
func (w *writer) response(req *http.Request) *http.Response {
	w.mu.Lock()
	defer w.mu.Unlock()
	resp := &http.Response{
		StatusCode: w.code, Status: strconv.Itoa(w.code) + " " + http.StatusText(w.code),
		Proto: "HTTP/2.0", ProtoMajor: 2,
		Header: w.sent, Body: w, Request: req, ContentLength: -1,
	}
	if w.done && w.err == nil {
		resp.ContentLength = int64(w.buf.Len())
	}
	return resp
}
