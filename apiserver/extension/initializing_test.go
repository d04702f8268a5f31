package extension

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/apiserver/pkg/endpoints/request"
)

// TestAwaitCaches: a refusal of a list is not passed on while it may pass, and others are.
func TestAwaitCaches(t *testing.T) {
	for _, test := range []struct {
		verb          string
		refusals      int
		code, handled int
	}{
		{"list", 0, 200, 1}, {"list", 3, 200, 4}, {"watch", 2, 200, 3}, {"get", 1, 429, 1}, {"create", 1, 429, 1},
	} {
		handled := 0
		h := awaitCaches(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if handled++; handled <= test.refusals {
				w.Header().Set("Retry-After", "1")
				http.Error(w, "storage is (re)initializing", http.StatusTooManyRequests)
				return
			}
			_, _ = w.Write([]byte("served"))
		}))
		r := httptest.NewRequest(http.MethodGet, "/apis/example.com/v1/boats", nil)
		r = r.WithContext(request.WithRequestInfo(t.Context(), &request.RequestInfo{IsResourceRequest: true, Verb: test.verb}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != test.code || handled != test.handled {
			t.Errorf("%s after %d refusals: status %d after %d calls, want %d after %d", test.verb, test.refusals, w.Code, handled, test.code, test.handled)
		}
		if test.code == 200 && (w.Body.String() != "served" || w.Header().Get("Retry-After") != "") {
			t.Errorf("%s: the answer is %q with header %v", test.verb, w.Body, w.Header())
		}
	}
}
