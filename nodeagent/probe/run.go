package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	userAgent = "kube-probe/1.37"
	maxBody   = 10 * 1024
)

// Exec runs a command in a container.
type Exec interface {
	ExecSync(ctx context.Context, containerID string, cmd []string, timeout time.Duration) (output []byte, exitCode int32, err error)
}

// NetRunner carries out probes of all four kinds.
type NetRunner struct{ Exec Exec }

// Run implements Runner. An error means that nothing was learnt.
func (r NetRunner) Run(ctx context.Context, p *corev1.Probe, t Target) (Result, string, error) {
	timeout := seconds(p.TimeoutSeconds, 1)
	switch {
	case p.Exec != nil:
		return r.exec(ctx, p.Exec.Command, t, timeout)
	case p.HTTPGet != nil:
		req, err := HTTPRequest(ctx, p.HTTPGet, t.Container, t.PodIP, userAgent)
		if err != nil {
			return Unknown, "", err
		}
		return httpGet(req, timeout)
	case p.TCPSocket != nil:
		port, err := Port(p.TCPSocket.Port, t.Container)
		if err != nil {
			return Unknown, "", err
		}
		return tcp(ctx, net.JoinHostPort(orElse(p.TCPSocket.Host, t.PodIP), strconv.Itoa(port)), timeout)
	case p.GRPC != nil:
		service := ""
		if p.GRPC.Service != nil {
			service = *p.GRPC.Service
		}
		return health(ctx, net.JoinHostPort(t.PodIP, strconv.Itoa(int(p.GRPC.Port))), service, timeout)
	}
	return Unknown, "", fmt.Errorf("missing probe handler for %s:%s", t.Pod.Name, t.Container.Name)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (r NetRunner) exec(ctx context.Context, cmd []string, t Target, timeout time.Duration) (Result, string, error) {
	output, code, err := r.Exec.ExecSync(ctx, t.ContainerID, cmd, timeout)
	switch {
	case status.Code(err) == codes.DeadlineExceeded || errors.Is(err, context.DeadlineExceeded):
		return Failure, fmt.Sprintf("command timed out: %q timed out after %s", strings.Join(cmd, " "), timeout), nil
	case err != nil:
		return Unknown, "", err
	case code != 0:
		return Failure, string(output[:min(len(output), maxBody)]), nil
	}
	return Success, "", nil
}

// Port resolves a port number or name against the container's ports.
func Port(p intstr.IntOrString, c *corev1.Container) (int, error) {
	n := p.IntValue()
	if p.Type == intstr.String {
		n = 0
		for _, cp := range c.Ports {
			if cp.Name == p.StrVal {
				n = int(cp.ContainerPort)
			}
		}
		if n == 0 {
			var err error
			if n, err = strconv.Atoi(p.StrVal); err != nil {
				return 0, fmt.Errorf("couldn't find port %q in container %s", p.StrVal, c.Name)
			}
		}
	}
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("invalid port number: %v", n)
	}
	return n, nil
}

// HTTPRequest builds the request of an HTTP probe or hook.
func HTTPRequest(ctx context.Context, a *corev1.HTTPGetAction, c *corev1.Container, podIP, agent string) (*http.Request, error) {
	port, err := Port(a.Port, c)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(a.Path)
	if err != nil {
		u = &url.URL{Path: a.Path}
	}
	u.Scheme = strings.ToLower(orElse(string(a.Scheme), "http"))
	u.Host = net.JoinHostPort(orElse(a.Host, podIP), strconv.Itoa(port))
	if !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for _, h := range a.HTTPHeaders {
		if strings.EqualFold(h.Name, "host") {
			req.Host = h.Value
			continue
		}
		req.Header.Add(h.Name, h.Value)
	}
	if _, set := req.Header["User-Agent"]; !set {
		req.Header.Set("User-Agent", agent)
	}
	if _, set := req.Header["Accept"]; !set {
		req.Header.Set("Accept", "*/*")
	}
	return req, nil
}

// Client is an HTTP client for one request to a container: no proxy, no
// connection left behind, certificates not verified as there is no name to
// verify them against.
func Client(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DisableKeepAlives:  true,
			DisableCompression: true,
			Proxy:              nil,
			TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as documented for probes
			DialContext:        (&net.Dialer{Timeout: timeout}).DialContext,
		},
	}
}

func httpGet(req *http.Request, timeout time.Duration) (Result, string, error) {
	client := Client(timeout)
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if next.URL.Hostname() != via[0].URL.Hostname() {
			return http.ErrUseLastResponse
		}
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		return nil
	}
	res, err := client.Do(req)
	if err != nil {
		return Failure, err.Error(), nil
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(io.LimitReader(res.Body, maxBody)); err != nil {
		return Failure, err.Error(), nil
	}
	if res.StatusCode >= http.StatusOK && res.StatusCode < http.StatusBadRequest {
		return Success, "", nil
	}
	return Failure, fmt.Sprintf("HTTP probe failed with statuscode: %d", res.StatusCode), nil
}

func tcp(ctx context.Context, addr string, timeout time.Duration) (Result, string, error) {
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return Failure, err.Error(), nil
	}
	conn.Close()
	return Success, "", nil
}

func health(ctx context.Context, addr, service string, timeout time.Duration) (Result, string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithUserAgent(userAgent), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return Failure, fmt.Sprintf("error: failed to connect service at %q: %+v", addr, err), nil
	}
	defer conn.Close()
	res, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{Service: service}, grpc.WaitForReady(false))
	if err != nil {
		switch status.Code(err) {
		case codes.Unimplemented:
			return Failure, fmt.Sprintf("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %s", status.Convert(err).Message()), nil
		case codes.DeadlineExceeded:
			return Failure, fmt.Sprintf("timeout: health rpc did not complete within %v", timeout), nil
		}
		return Failure, fmt.Sprintf("error: health rpc probe failed: %+v", err), nil
	}
	if res.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		return Failure, fmt.Sprintf("service unhealthy (responded with %q)", res.GetStatus().String()), nil
	}
	return Success, "", nil
}
