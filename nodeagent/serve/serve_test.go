package serve

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/ptr"

	"context"
)

func TestSubresources(t *testing.T) {
	for path, want := range map[string][]string{
		"/pods": {"pods", "proxy"}, "/runningpods/": {"pods", "proxy"}, "/healthz": {"healthz", "proxy"}, "/healthz/ping": {"healthz", "proxy"}, "/configz": {"configz", "proxy"},
		"/stats/summary": {"stats"}, "/metrics": {"metrics"}, "/metrics/cadvisor": {"metrics"}, "/logs/": {"log"}, "/containerLogs/n/p/c": {"proxy"}, "/exec/n/p/c": {"proxy"}, "/": {"proxy"},
	} {
		if diff := cmp.Diff(want, subresources(path)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

// TestGuard: who is not known, and who may not, does not get through.
func TestGuard(t *testing.T) {
	var asked []string
	g := &guard{
		node: "n1",
		authn: authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
			name := r.Header.Get("As")
			return &authenticator.Response{User: &user.DefaultInfo{Name: name}}, name != "", nil
		}),
		authz: authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
			asked = append(asked, a.GetUser().GetName()+" "+a.GetVerb()+" "+a.GetResource()+"/"+a.GetSubresource()+" "+a.GetName())
			if a.GetUser().GetName() == "admin" || a.GetSubresource() == "healthz" {
				return authorizer.DecisionAllow, "", nil
			}
			return authorizer.DecisionNoOpinion, "", nil
		}),
	}
	handler := g.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	for _, c := range []struct {
		as, method, path string
		status           int
		asked            []string
	}{
		{"", "GET", "/healthz", 401, nil},
		{"mon", "GET", "/healthz", 418, []string{"mon get nodes/healthz n1"}},
		{"mon", "GET", "/pods", 403, []string{"mon get nodes/pods n1", "mon get nodes/proxy n1"}},
		{"mon", "POST", "/run/n/p/c", 403, []string{"mon create nodes/proxy n1"}},
		{"admin", "POST", "/exec/n/p/c", 418, []string{"admin create nodes/proxy n1"}},
	} {
		asked = nil
		r := httptest.NewRequest(c.method, c.path, nil)
		r.Header.Set("As", c.as)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s %s as %q: %d", c.method, c.path, c.as, w.Code)
		}
		if diff := cmp.Diff(c.asked, asked); diff != "" {
			t.Errorf("%s %s as %q: %s", c.method, c.path, c.as, diff)
		}
	}
}

func TestLogOptions(t *testing.T) {
	for query, want := range map[string]*corev1.PodLogOptions{
		"": {}, "follow=true&timestamps=1&previous=false": {Follow: true, Timestamps: true}, "follow": {Follow: true}, "tailLines=all": {},
		"tailLines=3&limitBytes=9&sinceSeconds=2": {TailLines: ptr.To[int64](3), LimitBytes: ptr.To[int64](9), SinceSeconds: ptr.To[int64](2)},
		"stream=Stdout": {Stream: ptr.To("Stdout")},
		"tailLines=x":   nil, "tailLines=-1": nil, "follow=maybe": nil, "sinceTime=yesterday": nil,
	} {
		q, _ := url.ParseQuery(query)
		got, err := logOptions(q)
		if want == nil {
			if err == nil {
				t.Errorf("%s was accepted", query)
			}
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %s %v", query, diff, err)
		}
	}
}

func TestStreams(t *testing.T) {
	for query, want := range map[string]streams{
		"input=1&output=1&error=1": {true, true, true, false}, "output=true&error=1&tty=1": {false, true, false, true},
	} {
		q, _ := url.ParseQuery(query)
		if got, err := streamsOf(q); err != nil || got != want {
			t.Errorf("%s: %+v, %v", query, got, err)
		}
	}
	if _, err := streamsOf(url.Values{}); err == nil {
		t.Error("no streams at all were accepted")
	}
}
