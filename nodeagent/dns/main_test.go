package dns

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"coracle.dev/coracle/nodeagent/internal/netnstest"
)

func TestMain(m *testing.M) { netnstest.Main(m) }

// api is an API server's transport over a fake clientset: enough for informers,
// which the kubernetes plugin makes for itself from a rest.Config.
type api struct{ client *fake.Clientset }

func (a api) config() *rest.Config { return &rest.Config{Host: "http://api.invalid", Transport: a} }

func (a api) RoundTrip(r *http.Request) (*http.Response, error) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	namespace, resource := "", parts[len(parts)-1]
	for i, p := range parts {
		if p == "namespaces" && i+2 < len(parts) {
			namespace, resource = parts[i+1], parts[i+2]
		}
	}
	gv := schema.GroupVersion{Version: "v1"}
	if parts[0] == "apis" {
		gv.Group = parts[1]
	}
	kind := map[string]string{"services": "Service", "endpointslices": "EndpointSlice", "namespaces": "Namespace"}[resource]
	if kind == "" || r.Method != http.MethodGet {
		return respond(http.StatusNotFound, &metav1.Status{Status: metav1.StatusFailure, Code: 404, Reason: metav1.StatusReasonNotFound}), nil
	}
	gvr, gvk := gv.WithResource(resource), gv.WithKind(kind)
	if r.URL.Query().Get("watch") == "true" {
		return a.watch(gvr, gvk, namespace, r.URL.Query().Get("sendInitialEvents") == "true")
	}
	list, err := a.client.Tracker().List(gvr, gvk, namespace)
	if err != nil {
		return nil, err
	}
	return respond(http.StatusOK, list), nil
}

func respond(code int, o any) *http.Response {
	data, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(data))}
}

func (a api) watch(gvr schema.GroupVersionResource, gvk schema.GroupVersionKind, namespace string, initial bool) (*http.Response, error) {
	w, err := a.client.Tracker().Watch(gvr, namespace)
	if err != nil {
		return nil, err
	}
	body, out := io.Pipe()
	go func() {
		defer w.Stop()
		encode := func(kind watch.EventType, o runtime.Object) error {
			o = o.DeepCopyObject()
			o.GetObjectKind().SetGroupVersionKind(gvk)
			data, err := json.Marshal(o)
			if err == nil {
				_, err = fmt.Fprintf(out, `{"type":%q,"object":%s}`+"\n", kind, data)
			}
			return err
		}
		if initial {
			if list, err := a.client.Tracker().List(gvr, gvk, namespace); err == nil {
				eachItem(list, func(o runtime.Object) { _ = encode(watch.Added, o) })
			}
			mark, _ := scheme.Scheme.New(gvk)
			mark.(metav1.Object).SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
			mark.(metav1.Object).SetResourceVersion("1")
			_ = encode(watch.Bookmark, mark)
		}
		for e := range w.ResultChan() {
			if encode(e.Type, e.Object) != nil {
				return
			}
		}
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}, nil
}

func eachItem(list runtime.Object, do func(runtime.Object)) {
	switch l := list.(type) {
	case *corev1.ServiceList:
		for i := range l.Items {
			do(&l.Items[i])
		}
	case *corev1.NamespaceList:
		for i := range l.Items {
			do(&l.Items[i])
		}
	case *discoveryv1.EndpointSliceList:
		for i := range l.Items {
			do(&l.Items[i])
		}
	}
}
