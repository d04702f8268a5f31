package extension

import (
	"net/http"
	"time"

	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/endpoints/responsewriter"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

// A custom resource's cache is made with the first request for it, and refuses lists and watches with
// status 429 until it is filled, some milliseconds later. Clients obey that by waiting for a second.
const (
	initializing = 2 * time.Second
	pause        = 5 * time.Millisecond
)

// AwaitCaches makes lists and watches of custom resources wait for a cache that is being filled, rather
// than to be refused. Different from Kubernetes, where whoever uses a new kind at once waits a second.
func AwaitCaches(d genericapiserver.DelegationTarget) genericapiserver.DelegationTarget {
	return &awaiting{d}
}

type awaiting struct {
	genericapiserver.DelegationTarget
}

// UnprotectedHandler implements DelegationTarget.
func (a *awaiting) UnprotectedHandler() http.Handler {
	return awaitCaches(a.DelegationTarget.UnprotectedHandler())
}

func awaitCaches(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, ok := request.RequestInfoFrom(r.Context())
		if !ok || !info.IsResourceRequest || info.Verb != "list" && info.Verb != "watch" {
			next.ServeHTTP(w, r)
			return
		}
		for deadline := time.Now().Add(initializing); ; {
			if time.Now().After(deadline) {
				next.ServeHTTP(w, r)
				return
			}
			held := &holding{ResponseWriter: w}
			next.ServeHTTP(responsewriter.WrapForHTTP1Or2(held), r)
			if !held.refused {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(pause):
			}
		}
	})
}

// holding keeps a refusal with status 429 to itself.
type holding struct {
	http.ResponseWriter
	written, refused bool
}

// Unwrap implements responsewriter.UserProvidedDecorator.
func (h *holding) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (h *holding) WriteHeader(code int) {
	if !h.written && code == http.StatusTooManyRequests {
		h.refused = true
		for _, name := range []string{"Retry-After", "Content-Type", "Content-Length", "Content-Encoding"} {
			h.Header().Del(name)
		}
	}
	h.written = true
	if !h.refused {
		h.ResponseWriter.WriteHeader(code)
	}
}

// Write implements http.ResponseWriter.
func (h *holding) Write(b []byte) (int, error) {
	h.written = true
	if h.refused {
		return len(b), nil
	}
	return h.ResponseWriter.Write(b)
}
