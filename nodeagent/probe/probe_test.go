package probe

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpchealth "google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// scripted answers probes by their kind, which it knows by the command, and
// writes down when they were asked.
type scripted struct {
	mu      sync.Mutex
	begun   time.Time
	answers map[string]Result
	log     []string
}

func (s *scripted) Run(_ context.Context, p *corev1.Probe, _ Target) (Result, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := p.Exec.Command[0]
	s.log = append(s.log, fmt.Sprintf("%v %s", time.Since(s.begun), kind))
	return s.answers[kind], "because", nil
}

func (s *scripted) set(kind string, r Result) { s.mu.Lock(); defer s.mu.Unlock(); s.answers[kind] = r }

func (s *scripted) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.log = nil }()
	return s.log
}

func (s *scripted) Changed(types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf("%v changed", time.Since(s.begun)))
}

func (s *scripted) Unhealthy(Target, Kind, Result, string) {}

func handler(kind string) corev1.ProbeHandler {
	return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{kind}}}
}

func TestProbesOfAContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &scripted{begun: time.Now(), answers: map[string]Result{"start": Failure, "ready": Success, "live": Success}}
		m := NewManager(ctx, s, s)
		target := Target{Pod: &corev1.Pod{}, ContainerID: "id", StartedAt: time.Now(), Container: &corev1.Container{
			StartupProbe:   &corev1.Probe{ProbeHandler: handler("start"), PeriodSeconds: 2, InitialDelaySeconds: 1, FailureThreshold: 10},
			ReadinessProbe: &corev1.Probe{ProbeHandler: handler("ready"), PeriodSeconds: 5, SuccessThreshold: 2},
			LivenessProbe:  &corev1.Probe{ProbeHandler: handler("live"), PeriodSeconds: 4, FailureThreshold: 2},
		}}
		m.Sync("u", []Target{target})
		step := func(d time.Duration, want ...string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if diff := cmp.Diff(want, s.take()); diff != "" {
				t.Error(diff)
			}
		}
		result := func(k Kind, want Result) {
			t.Helper()
			if got, ok := m.Result("id", k); !ok || got != want {
				t.Errorf("%s is %v, %t", k, got, ok)
			}
		}
		step(4*time.Second, "1s start", "3s start")
		result(Readiness, Failure)
		result(Startup, Unknown)
		s.set("start", Success)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := s.take(); len(got) != 4 || got[0] != "5s start" { // and changed, ready, live in any order
			t.Errorf("after the start: %v", got)
		}
		result(Startup, Success)
		result(Readiness, Failure) // once is not enough
		step(5*time.Second, "9s live", "10s ready", "10s changed")
		result(Readiness, Success)
		s.set("live", Failure)
		step(8*time.Second, "13s live", "15s ready", "17s live", "17s changed")
		result(Liveness, Failure)
		step(4*time.Second, "20s ready") // no liveness any more
		m.Sync("u", nil)
		step(20 * time.Second)
		if _, ok := m.Result("id", Readiness); ok {
			t.Error("a result outlives its container")
		}
	})
}

func TestTerminatingPodsAreOnlyAskedForReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &scripted{begun: time.Now(), answers: map[string]Result{"ready": Success, "live": Failure}}
		m := NewManager(ctx, s, s)
		target := Target{Pod: &corev1.Pod{}, ContainerID: "id", StartedAt: time.Now(), WasReady: true, Terminating: true, Container: &corev1.Container{
			ReadinessProbe: &corev1.Probe{ProbeHandler: handler("ready"), PeriodSeconds: 10}, LivenessProbe: &corev1.Probe{ProbeHandler: handler("live"), PeriodSeconds: 1},
		}}
		m.Sync("u", []Target{target})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"0s ready"}, s.take()); diff != "" {
			t.Error(diff)
		}
		if r, _ := m.Result("id", Readiness); r != Success {
			t.Error("what the API server knew is forgotten")
		}
	})
}

func TestHTTP(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			if r.Header.Get("User-Agent") != userAgent || r.Header.Get("X") != "y" || r.Host != "named" {
				w.WriteHeader(400)
			}
		case "/here":
			http.Redirect(w, r, "/bad", http.StatusFound)
		case "/away":
			http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
		case "/slow":
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Second):
			}
		default:
			w.WriteHeader(503)
		}
	}))
	defer server.Close()
	host, port, _ := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	target := Target{PodIP: host, Container: &corev1.Container{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: int32(number)}}}}
	for path, want := range map[string]struct {
		result  Result
		message string
	}{
		"/ok": {Success, ""}, "/bad": {Failure, "HTTP probe failed with statuscode: 503"}, "/here": {Failure, "HTTP probe failed with statuscode: 503"},
		"/away": {Success, ""}, "/slow": {Failure, "Client.Timeout exceeded"},
	} {
		p := &corev1.Probe{TimeoutSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromString("web"), HTTPHeaders: []corev1.HTTPHeader{{Name: "X", Value: "y"}, {Name: "Host", Value: "named"}},
		}}}
		got, message, err := NetRunner{}.Run(t.Context(), p, target)
		if got != want.result || !strings.Contains(message, want.message) || err != nil {
			t.Errorf("%s: %v %q %v", path, got, message, err)
		}
	}
	_, _, err = NetRunner{}.Run(t.Context(), &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("none")}}}, target)
	if err == nil {
		t.Error("a port that is not there was found")
	}
}

func TestGRPC(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, checks := grpc.NewServer(), grpchealth.NewServer()
	healthv1.RegisterHealthServer(server, checks)
	checks.SetServingStatus("down", healthv1.HealthCheckResponse_NOT_SERVING)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	port := int32(listener.Addr().(*net.TCPAddr).Port)
	for service, want := range map[string]Result{"": Success, "down": Failure, "unknown": Failure} {
		p := &corev1.Probe{TimeoutSeconds: 2, ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: port, Service: &service}}}
		if got, message, err := (NetRunner{}).Run(t.Context(), p, Target{PodIP: "127.0.0.1"}); got != want || err != nil {
			t.Errorf("%q: %v %q %v", service, got, message, err)
		}
	}
}

// execFunc is an Exec.
type execFunc func() ([]byte, int32, error)

func (f execFunc) ExecSync(context.Context, string, []string, time.Duration) ([]byte, int32, error) {
	return f()
}

func TestExec(t *testing.T) {
	for name, c := range map[string]struct {
		run     execFunc
		result  Result
		message string
		failed  bool
	}{
		"ok":      {func() ([]byte, int32, error) { return []byte("x"), 0, nil }, Success, "", false},
		"bad":     {func() ([]byte, int32, error) { return []byte("why"), 3, nil }, Failure, "why", false},
		"timeout": {func() ([]byte, int32, error) { return nil, 0, status.Error(codes.DeadlineExceeded, "x") }, Failure, `command timed out: "a b" timed out after 1s`, false},
		"error":   {func() ([]byte, int32, error) { return nil, 0, status.Error(codes.Unavailable, "x") }, Unknown, "", true},
	} {
		p := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"a", "b"}}}}
		got, message, err := NetRunner{Exec: c.run}.Run(t.Context(), p, Target{})
		if got != c.result || message != c.message || (err != nil) != c.failed {
			t.Errorf("%s: %v %q %v", name, got, message, err)
		}
	}
}
