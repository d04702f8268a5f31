package pod_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	serverforward "k8s.io/cri-streaming/pkg/streaming/portforward"
	serverexec "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/exec"

	"coracle.dev/coracle/apiserver/apiservertest"
)

// agent is a node agent of which the one container echoes.
type agent struct{ log chan string }

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/exec/"), strings.HasPrefix(r.URL.Path, "/attach/"):
		options, err := serverexec.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		serverexec.ServeExec(w, r, a, "p", "", "c", r.URL.Query()["command"], options, time.Minute, time.Minute, serverexec.SupportedStreamingProtocols)
	case strings.HasPrefix(r.URL.Path, "/portForward/"):
		serverforward.ServePortForward(w, r, a, "p", "", nil, time.Minute, time.Minute, serverforward.SupportedProtocols)
	case strings.HasPrefix(r.URL.Path, "/containerLogs/"):
		fmt.Fprintf(w, "%s?%s\n", r.URL.Path, r.URL.RawQuery)
		for r.URL.Query().Get("follow") == "true" {
			w.(http.Flusher).Flush()
			select {
			case line, ok := <-a.log:
				if !ok {
					return
				}
				fmt.Fprintln(w, line)
			case <-r.Context().Done():
				return
			}
		}
	default:
		fmt.Fprintf(w, "agent %s %s", r.Method, r.URL.Path)
	}
}

// ExecInContainer writes what it was told to stdout, its input to stdout too, and fails when told so.
func (a *agent) ExecInContainer(_ context.Context, _, _, _ string, cmd []string, in io.Reader, out, errOut io.WriteCloser, _ bool, _ <-chan serverexec.TerminalSize, _ time.Duration) error {
	fmt.Fprintln(out, strings.Join(cmd, " "))
	if in != nil {
		_, _ = io.Copy(out, in)
	}
	if errOut != nil {
		fmt.Fprint(errOut, "complaint")
	}
	if len(cmd) > 0 && cmd[0] == "fail" {
		return exec.CodeExitError{Err: errors.New("failed"), Code: 7}
	}
	return nil
}

// PortForward echoes in upper case.
func (a *agent) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	buf := make([]byte, 5)
	if _, err := io.ReadFull(stream, buf); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stream, "%d %s", port, strings.ToUpper(string(buf)))
	return errors.Join(err, stream.Close())
}

func TestConnections(t *testing.T) {
	a := &agent{log: make(chan string)}
	server := httptest.NewTLSServer(a)
	defer server.Close()
	_, s := apiservertest.Start(t)
	cfg := apiservertest.TLS(s)
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	setUp(t, client, server)
	t.Run("log", func(t *testing.T) { testLog(t, client, a) })
	t.Run("exec", func(t *testing.T) { testExec(t, cfg, client) })
	t.Run("port-forward", func(t *testing.T) { testPortForward(t, cfg, client) })
	t.Run("node proxy", func(t *testing.T) {
		out, err := client.CoreV1().RESTClient().Get().Resource("nodes").Name("n").SubResource("proxy").Suffix("stats/summary").DoRaw(t.Context())
		if string(out) != "agent GET /stats/summary" {
			t.Errorf("got %q, %v", out, err)
		}
	})
	t.Run("pod proxy refuses this machine", func(t *testing.T) {
		p, err := client.CoreV1().Pods("default").Get(t.Context(), "p", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p.Status.PodIPs, p.Status.PodIP = []corev1.PodIP{{IP: "127.0.0.1"}}, "127.0.0.1"
		if _, err := client.CoreV1().Pods("default").UpdateStatus(t.Context(), p, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		err = client.CoreV1().RESTClient().Get().Namespace("default").Resource("pods").Name("p").SubResource("proxy").Do(t.Context()).Error()
		if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), "address not allowed") {
			t.Errorf("got %v", err)
		}
	})
}

func setUp(t *testing.T, client kubernetes.Interface, server *httptest.Server) {
	t.Helper()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n"},
		Status: corev1.NodeStatus{
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "unused.invalid"}, {Type: corev1.NodeInternalIP, Address: "127.0.0.1"}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(port)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, containers := range map[string][]string{"p": {"c"}, "two": {"a", "b"}, "nowhere": {"c"}} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if name != "nowhere" {
			p.Spec.NodeName = "n"
		}
		for _, c := range containers {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c, Image: "x"})
		}
		if _, err := client.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func testLog(t *testing.T, client kubernetes.Interface, a *agent) {
	pods := client.CoreV1().Pods("default")
	tail, since := int64(3), int64(60)
	out, err := pods.GetLogs("p", &corev1.PodLogOptions{TailLines: &tail, SinceSeconds: &since, Timestamps: true, Previous: true}).DoRaw(t.Context())
	want := "/containerLogs/default/p/c?previous=true&sinceSeconds=60&tailLines=3&timestamps=true\n"
	if string(out) != want || err != nil {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
	if out, err := pods.GetLogs("nowhere", &corev1.PodLogOptions{}).DoRaw(t.Context()); len(out) != 0 || err != nil {
		t.Errorf("pod without a node: %q, %v", out, err)
	}
	err = pods.GetLogs("two", &corev1.PodLogOptions{}).Do(t.Context()).Error()
	if err == nil || err.Error() != "a container name must be specified for pod two, choose one of: [a b]" {
		t.Errorf("no container named: %v", err)
	}
	err = pods.GetLogs("two", &corev1.PodLogOptions{Container: "z"}).Do(t.Context()).Error()
	if err == nil || err.Error() != "container z is not valid for pod two" {
		t.Errorf("wrong container named: %v", err)
	}
	negative := int64(-1)
	if err := pods.GetLogs("p", &corev1.PodLogOptions{TailLines: &negative}).Do(t.Context()).Error(); !apierrors.IsInvalid(err) {
		t.Errorf("negative tail: %v", err)
	}
	// Followed lines arrive as they are written.
	stream, err := pods.GetLogs("p", &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	buf := make([]byte, 200)
	for _, line := range []string{"", "one", "two"} {
		if line != "" {
			a.log <- line
		}
		n, err := stream.Read(buf)
		if err != nil || !strings.Contains(string(buf[:n]), line) {
			t.Fatalf("following: %q, %v; want %q", buf[:n], err, line)
		}
	}
	close(a.log)
}

func testExec(t *testing.T, cfg *rest.Config, client kubernetes.Interface) {
	request := func(command ...string) *url.URL {
		return client.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name("p").SubResource("exec").
			VersionedParams(&corev1.PodExecOptions{Container: "c", Command: command, Stdin: true, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	}
	executors := map[string]func(*url.URL) (remotecommand.Executor, error){
		"SPDY": func(u *url.URL) (remotecommand.Executor, error) {
			return remotecommand.NewSPDYExecutor(cfg, "POST", u)
		},
		"WebSocket": func(u *url.URL) (remotecommand.Executor, error) {
			return remotecommand.NewWebSocketExecutor(cfg, "GET", u.String())
		},
	}
	for name, executor := range executors {
		t.Run(name, func(t *testing.T) {
			for command, code := range map[string]int{"greet": 0, "fail": 7} {
				e, err := executor(request(command, "all"))
				if err != nil {
					t.Fatal(err)
				}
				var out, errOut bytes.Buffer
				err = e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader("input"), Stdout: &out, Stderr: &errOut})
				var exit utilexec.CodeExitError
				if got := 0; errors.As(err, &exit) {
					if got = exit.Code; got != code {
						t.Errorf("%s: exit code %d, want %d", command, got, code)
					}
				} else if err != nil || code != 0 {
					t.Errorf("%s: %v, want exit code %d", command, err, code)
				}
				if diff := cmp.Diff([]string{command + " all\ninput", "complaint"}, []string{out.String(), errOut.String()}); diff != "" {
					t.Errorf("%s: output (-want +got):\n%s", command, diff)
				}
			}
		})
	}
}

func testPortForward(t *testing.T, cfg *rest.Config, client kubernetes.Interface) {
	u := client.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name("p").SubResource("portforward").URL()
	roundTripper, upgrader, err := spdy.RoundTripperFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tunnel, err := portforward.NewSPDYOverWebsocketDialer(u, cfg)
	if err != nil {
		t.Fatal(err)
	}
	plain := spdy.NewDialer(upgrader, &http.Client{Transport: roundTripper}, "POST", u)
	for name, start := range map[string]func(stop, ready chan struct{}) (*portforward.PortForwarder, error){
		"SPDY": func(stop, ready chan struct{}) (*portforward.PortForwarder, error) {
			return portforward.New(plain, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
		},
		"WebSocket": func(stop, ready chan struct{}) (*portforward.PortForwarder, error) {
			return portforward.New(tunnel, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
		},
	} {
		t.Run(name, func(t *testing.T) {
			stop, ready, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			forwarder, err := start(stop, ready)
			if err != nil {
				t.Fatal(err)
			}
			go func() { done <- forwarder.ForwardPorts() }()
			select {
			case <-ready:
			case err := <-done:
				t.Fatalf("forwarding ended: %v", err)
			}
			ports, err := forwarder.GetPorts()
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(conn, "hello")
			got, err := io.ReadAll(conn)
			if string(got) != "8080 HELLO" {
				t.Errorf("got %q, %v", got, err)
			}
			conn.Close()
			close(stop)
			<-done
		})
	}
}
