package serve

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/httpstream/wsstream"
	utilproxy "k8s.io/apimachinery/pkg/util/proxy"
	apiproxy "k8s.io/apiserver/pkg/util/proxy"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/nodeagent/pod"
)

// streams are the streams that a caller wants.
type streams struct{ stdin, stdout, stderr, tty bool }

func streamsOf(q url.Values) (streams, error) {
	on := func(name string) bool { v := q.Get(name); return v == "1" || v == "true" }
	s := streams{stdin: on("input"), stdout: on("output"), stderr: on("error"), tty: on("tty")}
	if s.tty {
		s.stderr = false // a terminal has one output
	}
	if !s.stdin && !s.stdout && !s.stderr {
		return s, fmt.Errorf("you must specify at least 1 of stdin, stdout, stderr")
	}
	return s, nil
}

// running finds the running instance of the container that a request names.
func (c Config) running(r *http.Request) (string, error) {
	v, err := c.view(r)
	if err != nil {
		return "", err
	}
	name := r.PathValue("container")
	for _, one := range v.Running() {
		if one.Name == name {
			return one.ID, nil
		}
	}
	return "", fmt.Errorf("container not found (%q): %w", name, pod.ErrNotFound)
}

func (c Config) view(r *http.Request) (pod.View, error) {
	v, err := c.Pods.Find(r.PathValue("namespace"), r.PathValue("pod"), types.UID(r.PathValue("uid")))
	if err != nil {
		return pod.View{}, fmt.Errorf("pod does not exist: %w", pod.ErrNotFound)
	}
	return v, nil
}

func (c Config) exec(w http.ResponseWriter, r *http.Request) {
	s, err := streamsOf(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	id, err := c.running(r)
	if err != nil {
		refuse(w, err)
		return
	}
	res, err := c.CRI.Exec(r.Context(), &runtimev1.ExecRequest{
		ContainerId: id, Cmd: r.URL.Query()["command"], Tty: s.tty, Stdin: s.stdin, Stdout: s.stdout, Stderr: s.stderr,
	})
	if err != nil {
		refuse(w, err)
		return
	}
	pass(w, r, res.Url, &s)
}

func (c Config) attach(w http.ResponseWriter, r *http.Request) {
	s, err := streamsOf(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	id, err := c.running(r)
	if err != nil {
		refuse(w, err)
		return
	}
	res, err := c.CRI.Attach(r.Context(), &runtimev1.AttachRequest{ContainerId: id, Tty: s.tty, Stdin: s.stdin, Stdout: s.stdout, Stderr: s.stderr})
	if err != nil {
		refuse(w, err)
		return
	}
	pass(w, r, res.Url, &s)
}

func (c Config) portForward(w http.ResponseWriter, r *http.Request) {
	var ports []int32
	// WebSocket callers name the ports beforehand, SPDY callers per stream.
	if wsstream.IsWebSocketRequest(r) {
		for _, list := range r.URL.Query()["port"] {
			for s := range strings.SplitSeq(list, ",") {
				port, err := strconv.ParseUint(s, 10, 16)
				if err != nil || port == 0 {
					http.Error(w, fmt.Sprintf("invalid port %q", s), http.StatusBadRequest)
					return
				}
				ports = append(ports, int32(port))
			}
		}
	}
	v, err := c.view(r)
	if err != nil {
		refuse(w, err)
		return
	}
	sandbox, up := v.SandboxID()
	if !up {
		refuse(w, fmt.Errorf("pod not found (%q): %w", v.Pod().Name, pod.ErrNotFound))
		return
	}
	res, err := c.CRI.PortForward(r.Context(), &runtimev1.PortForwardRequest{PodSandboxId: sandbox, Port: ports})
	if err != nil {
		refuse(w, err)
		return
	}
	pass(w, r, res.Url, nil)
}

// run executes a command and answers with its output.
func (c Config) run(w http.ResponseWriter, r *http.Request) {
	id, err := c.running(r)
	if err != nil {
		refuse(w, err)
		return
	}
	res, err := c.CRI.ExecSync(r.Context(), &runtimev1.ExecSyncRequest{ContainerId: id, Cmd: strings.Split(r.FormValue("cmd"), " ")})
	if err != nil {
		refuse(w, err)
		return
	}
	_, _ = w.Write(res.Stdout)
	_, _ = w.Write(res.Stderr)
	if res.ExitCode != 0 {
		_, _ = fmt.Fprintf(w, "command '%s' exited with %d: ", r.FormValue("cmd"), res.ExitCode)
	}
}

// pass hands the connection on to the runtime's streaming server. That server
// speaks SPDY and old WebSocket protocols; callers with the newest one (v5,
// which can close one stream) are translated here.
func pass(w http.ResponseWriter, r *http.Request, target string, s *streams) {
	location, err := url.Parse(target)
	if err != nil {
		refuse(w, fmt.Errorf("parsing the runtime's address: %w", err))
		return
	}
	var handler http.Handler = utilproxy.NewUpgradeAwareHandler(location, nil, false, true, responder{})
	if s != nil {
		translator := apiproxy.NewStreamTranslatorHandler(location, nil, 0, apiproxy.Options{Stdin: s.stdin, Stdout: s.stdout, Stderr: s.stderr, Tty: s.tty})
		handler = apiproxy.NewTranslatingHandler(handler, translator, wsstream.IsWebSocketRequestWithStreamCloseProtocol)
	}
	handler.ServeHTTP(w, r)
}

type responder struct{}

// Error implements the proxy's ErrorResponder.
func (responder) Error(w http.ResponseWriter, r *http.Request, err error) {
	klog.FromContext(r.Context()).V(2).Info("Could not pass on a stream", "err", err)
	http.Error(w, err.Error(), http.StatusInternalServerError)
}
