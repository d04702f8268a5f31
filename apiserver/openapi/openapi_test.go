package openapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/server/mux"

	"coracle.dev/coracle/apis/catalog"
)

func serve(t *testing.T, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	m := mux.NewPathRecorderMux("test")
	if err := Install(m); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w
}

func TestServe(t *testing.T) {
	var root struct {
		Paths map[string]struct {
			URL string `json:"serverRelativeURL"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(serve(t, "/openapi/v3").Body.Bytes(), &root); err != nil {
		t.Fatal(err)
	}
	current := root.Paths["apis/apps/v1"].URL
	tag := serve(t, current).Header().Get("Etag")
	for _, test := range []struct {
		name, path string
		headers    []string
		code       int
		header     string
		want       string
	}{
		{"current", current, nil, http.StatusOK, "Cache-Control", "public, immutable"},
		{"outdated hash", "/openapi/v3/apis/apps/v1?hash=old", nil, http.StatusMovedPermanently, "Location", current},
		{"unchanged", current, []string{"If-None-Match", tag}, http.StatusNotModified, "Etag", tag},
		{"packed", current, []string{"Accept-Encoding", "gzip"}, http.StatusOK, "Content-Encoding", "gzip"},
		{"binary", current, []string{"Accept", protoV3}, http.StatusOK, "Content-Type", protoV3},
		{"any type", current, []string{"Accept", "*/*"}, http.StatusOK, "Content-Type", "application/json"},
		{"unknown type", current, []string{"Accept", "text/html"}, http.StatusNotAcceptable, "Vary", "Accept"},
		{"version 2", "/openapi/v2", nil, http.StatusOK, "Content-Type", "application/json"},
		{"unknown group", "/openapi/v3/apis/none/v1", nil, http.StatusNotFound, "Etag", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := serve(t, test.path, test.headers...)
			if w.Code != test.code || w.Header().Get(test.header) != test.want {
				t.Errorf("got status %d, %s %q; want %d, %q", w.Code, test.header, w.Header().Get(test.header), test.code, test.want)
			}
		})
	}
	if body := serve(t, current).Body.String(); !strings.Contains(body, "io.k8s.api.apps.v1.Deployment") {
		t.Errorf("the document of apps/v1 has no Deployment: %.100s", body)
	}
}

func TestTypesKnowListKeys(t *testing.T) {
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		Spec:     corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "i"}}},
	}
	typed, err := Types(catalog.NewScheme()).ObjectToTyped(pod)
	if err != nil {
		t.Fatal(err)
	}
	set, err := typed.ToFieldSet()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(set.String(), `.spec.containers[name="a"].image`) {
		t.Errorf("containers are not keyed by name: %s", set)
	}
}
