package service_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/apiserver/apiservertest"
)

// backend tells what it was asked, and has a page with a link.
func backend(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/page") {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<html><body><a href="/other?x=1">link</a></body></html>`)
		return
	}
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s?%s %s %s", r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("X-Test"), body)
}

// listen listens on an address of this machine that a pod could have: loopback is refused.
func listen(t *testing.T) net.Listener {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		ip, err := netip.ParsePrefix(a.String())
		if err != nil || !ip.Addr().Is4() || !ip.Addr().IsGlobalUnicast() {
			continue
		}
		if l, err := net.Listen("tcp", net.JoinHostPort(ip.Addr().String(), "0")); err == nil {
			return l
		}
	}
	t.Fatalf("this machine has no address but loopback: %v", addresses)
	return nil
}

func serve(t *testing.T, secure bool) *net.TCPAddr {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(backend))
	s.Listener.Close()
	s.Listener = listen(t)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr)
}

func TestProxy(t *testing.T) {
	config, _ := apiservertest.Start(t)
	c := client(t, config)
	plain, secure := serve(t, false), serve(t, true)
	makeProxied(t, c, plain, secure)
	for _, test := range []struct {
		name, resource, id, method, path, query, body, want string
	}{
		{"service by port name", "services", "web:plain", "GET", "a/b", "x=1", "", "GET /a/b?x=1 yes "},
		{"service by port number", "services", "web:80", "POST", "a/", "", "text", "POST /a/? yes text"},
		{"service by TLS", "services", "https:web:secure", "PUT", "a", "", "text", "PUT /a? yes text"},
		{"pod by port", "pods", fmt.Sprintf("web:%d", plain.Port), "DELETE", "a", "", "", "DELETE /a? yes "},
		{"pod by TLS", "pods", fmt.Sprintf("https:web:%d", secure.Port), "PATCH", "a", "", "p", "PATCH /a? yes p"},
		{"node by port", "nodes", fmt.Sprintf("node:%d", plain.Port), "GET", "metrics", "", "", "GET /metrics? yes "},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := c.CoreV1().RESTClient().Verb(test.method).Resource(test.resource).Name(test.id).SubResource("proxy").Suffix(test.path)
			if strings.HasSuffix(test.path, "/") {
				r = c.CoreV1().RESTClient().Verb(test.method).AbsPath("/api/v1/namespaces/default/" + test.resource + "/" + test.id + "/proxy/" + test.path)
			} else if test.resource != "nodes" {
				r = r.Namespace("default")
			}
			if test.query != "" {
				key, value, _ := strings.Cut(test.query, "=")
				r = r.Param(key, value)
			}
			got, err := r.SetHeader("X-Test", "yes").Body([]byte(test.body)).DoRaw(t.Context())
			if err != nil || string(got) != test.want {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
	get := func(id string) ([]byte, error) {
		return c.CoreV1().RESTClient().Get().Namespace("default").Resource("services").Name(id).SubResource("proxy").Suffix("page").Do(t.Context()).Raw()
	}
	if page, err := get("web:plain"); err != nil || !strings.Contains(string(page), `/api/v1/namespaces/default/services/web:plain/proxy/other?x=1"`) {
		t.Errorf("links do not lead through the proxy: %s, %v", page, err)
	}
	fails := func(id string) error {
		return c.CoreV1().RESTClient().Get().Namespace("default").Resource("services").Name(id).SubResource("proxy").Do(t.Context()).Error()
	}
	if err := fails("web:81"); !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), `no service port 81 found for service "web"`) {
		t.Errorf("a port that is not the service's: %v", err)
	}
	if err := fails("none"); !apierrors.IsNotFound(err) {
		t.Errorf("no service: %v", err)
	}
	create(t, c.CoreV1().Services("default"), service("empty", ""))
	if err := fails("empty"); !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), `no endpoints available for service "empty"`) {
		t.Errorf("a service without endpoints: %v", err)
	}
}

// makeProxied makes a service, a pod and a node that are at the addresses.
func makeProxied(t *testing.T, c kubernetes.Interface, plain, secure *net.TCPAddr) {
	t.Helper()
	ctx := t.Context()
	create(t, c.CoreV1().Services("default"), service("web", "", corev1.ServicePort{Name: "plain", Port: 80}, corev1.ServicePort{Name: "secure", Port: 443}))
	ready, tcp := true, corev1.ProtocolTCP
	port := func(name string, a *net.TCPAddr) discoveryv1.EndpointPort {
		number := int32(a.Port)
		return discoveryv1.EndpointPort{Name: &name, Port: &number, Protocol: &tcp}
	}
	_, err := c.DiscoveryV1().EndpointSlices("default").Create(ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{port("plain", plain), port("secure", secure)},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{plain.IP.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod, err := c.CoreV1().Pods("default").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.PodSpec{NodeName: "node", Containers: []corev1.Container{{Name: "a", Image: "a"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.PodIP, pod.Status.PodIPs = plain.IP.String(), []corev1.PodIP{{IP: plain.IP.String()}}
	if _, err := c.CoreV1().Pods("default").UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = c.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node"},
		Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: plain.IP.String()}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}
