package guard

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
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
	g := &Guard{
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
	handler := g.Wrap(func(*http.Request) string { return "n1" }, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
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
